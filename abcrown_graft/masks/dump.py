"""Instability statistics: on how many images each neuron is unstable.

A neuron is unstable on an image if lower < 0 < upper strictly, for its pre-activation bounds over
the perturbed inputs; a grafted neuron never is. A dump can be continued (`add`), merged with one of
other images (`merge`) and stored; it knows which images it has counted, so none counts twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from abcrown_graft import files
from abcrown_graft.errors import ConfigError, DataError, FileFormatError, SettingsDifferError
from abcrown_graft.masks.identity import ModelIdentity, explain_difference, explain_sites
from abcrown_graft.masks.scores import SiteScores


@dataclass(frozen=True, eq=False)
class InstabilityDump:
    """Instability of a model's neurons over n images.

    Attributes:
        model: the model that was bounded.
        counts: by site, int64 of the site's shape: number of images on which the (ungrafted) neuron is unstable.
        unstable_per_image: by site, int64 `(n,)`: number of unstable neurons on each image.
        indices: int64 `(n,)`, strictly ascending: the data set indices of the counted images.
        grafted: by site, the number of grafted neurons.
        settings: what the numbers depend on (method, population, epsilon, data fingerprint, ...); JSON.

    Raises:
        DataError: the parts contradict one another.
    """

    model: ModelIdentity
    counts: Mapping[str, Tensor]
    unstable_per_image: Mapping[str, Tensor]
    indices: Tensor
    grafted: Mapping[str, int]
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        # What JSON makes of them, so that a loaded dump equals the stored one (tuples become lists).
        object.__setattr__(self, "settings", json.loads(json.dumps(dict(self.settings))))
        object.__setattr__(self, "grafted", {name: int(self.grafted.get(name, 0)) for name in self.model.sites})
        _check_consistent(self)

    @property
    def n(self) -> int:
        """The number of counted images."""
        return self.indices.numel()

    @property
    def grafted_fraction(self) -> float:
        """Grafted neurons / neurons."""
        neurons = sum(prod(shape) for shape in self.model.sites.values())
        return sum(self.grafted.values()) / neurons if neurons else 0.0

    def rates(self) -> SiteScores:
        """r_u = counts / n by site, in [0, 1].

        Raises:
            DataError: no image was counted.
        """
        self._require_images()
        values = {name: count.double() / self.n for name, count in self.counts.items()}
        return SiteScores("instability", values, self.model, {"images": self.n, **self.settings})

    def unr(self, denominator: str = "all") -> float:
        """Unstable neuron ratio: the mean over images of (unstable, ungrafted neurons) / (neurons), in [0, 1].

        Args:
            denominator: "all" neurons (the paper's figure) or only the "ungrafted" ones; 0 if there are none.

        Raises:
            ConfigError: another denominator.
            DataError: no image was counted.
        """
        if denominator not in ("all", "ungrafted"):
            raise ConfigError(f"unknown UNR denominator {denominator!r}; known: all, ungrafted")
        self._require_images()
        neurons = sum(prod(shape) for shape in self.model.sites.values())
        if denominator == "ungrafted":
            neurons -= sum(self.grafted.values())
        unstable = sum(int(per_image.sum()) for per_image in self.unstable_per_image.values())
        return unstable / (self.n * neurons) if neurons else 0.0

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a safetensors file, atomically."""
        tensors = {"indices": self.indices}
        tensors |= {f"counts/{name}": count for name, count in self.counts.items()}
        tensors |= {f"per_image/{name}": count for name, count in self.unstable_per_image.items()}
        header = {"model": self.model.to_header(), "grafted": self.grafted, "settings": self.settings, "n": self.n}
        files.save_tensors(path, "instability", tensors, header)

    def _require_images(self) -> None:
        if self.n == 0:
            raise DataError("the instability dump counts no image (n = 0); add images, or widen the population")


def empty(model: ModelIdentity, grafted: Mapping[str, int], settings: Mapping[str, Any]) -> InstabilityDump:
    """A dump without images; sites that `grafted` does not name have no grafted neurons.

    Args:
        model: whose neurons are counted.
        grafted: by site, the number of grafted neurons.
        settings: what the numbers will depend on; JSON.
    """
    unknown = [name for name in grafted if name not in model.sites]
    if unknown:
        raise DataError(f"grafted site {unknown[0]!r} is not one of the model's: {', '.join(model.sites)}")
    none = torch.zeros(0, dtype=torch.int64)
    counts = {name: torch.zeros(shape, dtype=torch.int64) for name, shape in model.sites.items()}
    return InstabilityDump(model, counts, dict.fromkeys(model.sites, none), none, grafted, settings)


def add(dump: InstabilityDump, indices: Iterable[int] | Tensor, unstable: Mapping[str, Tensor]) -> InstabilityDump:
    """The dump with a batch of images added.

    Args:
        dump: stays as it is.
        indices: data set index of each image of the batch.
        unstable: by site, bool `(batch, *neurons)`, on any device; false for grafted neurons.

    Raises:
        DataError: an index is counted already, or sites, shapes or dtypes do not fit.
    """
    new = torch.as_tensor(indices if isinstance(indices, Tensor) else list(indices), dtype=torch.int64).cpu()
    if new.dim() != 1:
        raise DataError(f"indices have shape {tuple(new.shape)}, expected one index per image")
    expected = {name: (len(new), *shape) for name, shape in dump.model.sites.items()}
    difference = explain_sites(expected, {name: tuple(flags.shape) for name, flags in unstable.items()})
    if difference:
        raise DataError(f"the instability of {len(new)} images does not fit the model: {difference}")
    wrong = [name for name, flags in unstable.items() if flags.dtype != torch.bool]
    if wrong:
        raise DataError(f"site {wrong[0]!r}: instability has dtype {unstable[wrong[0]].dtype}, expected torch.bool")
    repeated = _repeated(torch.cat([dump.indices, new]))
    if repeated:
        raise DataError(f"image {repeated[0]} would be counted twice; leave out the images counted already")
    return _join(
        dump,
        new,
        {name: unstable[name].sum(0).cpu() for name in dump.model.sites},
        {name: unstable[name].flatten(1).sum(1).cpu() for name in dump.model.sites},
    )


def merge(a: InstabilityDump, b: InstabilityDump) -> InstabilityDump:
    """The statistics over the images of both; commutative and associative.

    Raises:
        SettingsDifferError: another model, other settings, or an image that both count.
    """
    if a.model != b.model:
        raise SettingsDifferError(f"dumps of different models cannot be merged: {explain_difference(a.model, b.model)}")
    for what, ours, theirs in (("settings", a.settings, b.settings), ("grafted", a.grafted, b.grafted)):
        for key in [*ours, *theirs]:
            left, right = (side.get(key, "not set") for side in (ours, theirs))
            if left != right:
                raise SettingsDifferError(f"dumps with different {what} cannot be merged: {key} is {left} and {right}")
    repeated = _repeated(torch.cat([a.indices, b.indices]))
    if repeated:
        raise SettingsDifferError(
            f"{len(repeated)} images are counted in both dumps, the first is index {repeated[0]}; merge disjoint ranges"
        )
    return _join(a, b.indices, b.counts, b.unstable_per_image)


def load(path: str | os.PathLike[str]) -> InstabilityDump:
    """The dump that `InstabilityDump.save` wrote, checked to be consistent.

    Raises:
        FileFormatError: the file is missing, truncated, damaged, of another kind, or contradicts itself.
    """
    tensors, header = files.load_tensors(path, "instability")
    model = ModelIdentity.from_header(header.get("model"), str(path))
    try:
        counts = {name: tensors[f"counts/{name}"] for name in model.sites}
        per_image = {name: tensors[f"per_image/{name}"] for name in model.sites}
        dump = InstabilityDump(model, counts, per_image, tensors["indices"], header["grafted"], header["settings"])
    except KeyError as error:
        raise FileFormatError(f"{path}: {error} is missing; make the dump again") from None
    except (AttributeError, TypeError, ValueError):
        raise FileFormatError(f"{path}: the header is malformed; make the dump again") from None
    except DataError as error:
        raise FileFormatError(f"{path}: {error}; make the dump again") from None
    return dump


def _join(
    dump: InstabilityDump, indices: Tensor, counts: Mapping[str, Tensor], per_image: Mapping[str, Tensor]
) -> InstabilityDump:
    """The dump with the statistics of other images added, in ascending order of index."""
    every, order = torch.cat([dump.indices, indices]).sort()
    return replace(
        dump,
        indices=every,
        counts={name: count + counts[name] for name, count in dump.counts.items()},
        unstable_per_image={
            name: torch.cat([count, per_image[name]])[order] for name, count in dump.unstable_per_image.items()
        },
    )


def _repeated(indices: Tensor) -> list[int]:
    values, times = indices.unique(return_counts=True)
    return values[times > 1].tolist()


def _check_consistent(dump: InstabilityDump) -> None:
    indices, n = dump.indices, dump.n
    if indices.dtype != torch.int64 or indices.dim() != 1:
        raise DataError(f"indices are {indices.dtype} of shape {tuple(indices.shape)}, expected int64 (n,)")
    if bool((indices < 0).any()):
        raise DataError(f"image index {int(indices.min())} is negative")
    if bool((indices[1:] <= indices[:-1]).any()):
        raise DataError("image indices do not ascend strictly; an image is counted twice or out of order")
    for what, tensors, shapes in (
        ("counts", dump.counts, dump.model.sites),
        ("counts per image", dump.unstable_per_image, dict.fromkeys(dump.model.sites, (n,))),
    ):
        difference = explain_sites(shapes, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        if difference:
            raise DataError(f"the {what} do not fit the model and its {n} images: {difference}")
    for name, grafted in dump.grafted.items():
        _check_site(name, dump.counts[name], dump.unstable_per_image[name], n, grafted)


def _check_site(name: str, counts: Tensor, per_image: Tensor, n: int, grafted: int) -> None:
    if counts.dtype != torch.int64 or per_image.dtype != torch.int64:
        raise DataError(f"site {name!r}: counts are {counts.dtype} and {per_image.dtype}, expected int64")
    if not 0 <= grafted <= counts.numel():
        raise DataError(f"site {name!r}: {grafted} of {counts.numel()} neurons grafted")
    if bool((counts < 0).any()) or bool((per_image < 0).any()):
        raise DataError(f"site {name!r}: a count is negative")
    if bool((counts > n).any()):
        raise DataError(f"site {name!r}: a neuron is unstable on {int(counts.max())} of {n} images")
    if int(counts.sum()) != int(per_image.sum()):
        raise DataError(
            f"site {name!r}: counts per neuron sum to {int(counts.sum())}, per image to {int(per_image.sum())}"
        )
    if int((counts > 0).sum()) > counts.numel() - grafted or bool((per_image > counts.numel() - grafted).any()):
        raise DataError(f"site {name!r}: more unstable neurons than the {counts.numel() - grafted} ungrafted ones")
