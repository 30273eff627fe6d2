"""Imports the files of the published code (Chen et al. 2022; reproduction study, Brandis 2023).

Masks and scores are bare lists of tensors, one per ReLU in forward order; grafted checkpoints hold
`layer{k}` and `linear_masked_relu{k}` entries. They carry no identity of their model, so everything
that can be checked (count, shapes, values) is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from abcrown_graft.errors import FileFormatError, MaskError, ModelError
from abcrown_graft.files import check_archive
from abcrown_graft.masks.identity import ModelIdentity, explain_sites
from abcrown_graft.masks.mask import GraftMask, as_boolean
from abcrown_graft.masks.scores import SiteScores

_GRAFT_KEY = re.compile(r"linear_masked_relu(\d+)\.(mask|slope|bias)")
_LAYER_KEY = re.compile(r"layer(\d+)\.(\w+)")


def load_tensor_list(path: str | os.PathLike[str]) -> list[Tensor]:
    """The tensors of a `.pt` or `.pth` file that holds a bare list of them, on the CPU.

    Raises:
        FileFormatError: the file is missing, damaged, or holds anything else.
    """
    check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileFormatError(f"{path}: not a readable torch file of tensors ({reason})") from None
    if not isinstance(content, list) or not all(isinstance(item, Tensor) for item in content):
        raise FileFormatError(f"{path}: holds a {type(content).__name__}, expected a bare list of tensors")
    return content


def legacy_mask(path: str | os.PathLike[str], model: ModelIdentity) -> GraftMask:
    """A published mask: one tensor of 0 and 1 (1 = linear) per site of `model` in forward order.

    Raises:
        FileFormatError: the file is not a bare list of tensors.
        MaskError: the number of tensors or a shape is not the model's, or a value is neither 0 nor 1.
    """
    tensors = _by_site(load_tensor_list(path), model, path)
    masks = {name: as_boolean(tensor, f"{path}: site {name!r}") for name, tensor in tensors.items()}
    return GraftMask(masks, model, {"imported_from": Path(path).name})


def legacy_scores(
    path: str | os.PathLike[str], model: ModelIdentity | None = None, kind: str = "significance"
) -> SiteScores:
    """Published scores: one tensor per ReLU in forward order.

    Args:
        path: the file.
        model: names the sites; without it they are called "0", "1", ...
        kind: "instability" or "significance".

    Raises:
        FileFormatError: the file is not a bare list of tensors.
        MaskError: the number of tensors or a shape is not the model's.
        DataError: a score is not finite.
    """
    tensors = load_tensor_list(path)
    values = _by_site(tensors, model, path) if model else {str(i): tensor for i, tensor in enumerate(tensors)}
    return SiteScores(kind, values, model, {"imported_from": Path(path).name})


def _by_site(tensors: Sequence[Tensor], model: ModelIdentity, path: str | os.PathLike[str]) -> dict[str, Tensor]:
    if len(tensors) != len(model.sites):
        raise MaskError(f"{path}: holds {len(tensors)} tensors, the model has {len(model.sites)} activations")
    named = dict(zip(model.sites, tensors, strict=True))
    difference = explain_sites(model.sites, {name: tuple(tensor.shape) for name, tensor in named.items()})
    if difference:
        raise MaskError(f"{path}: made for another model ({difference})")
    return named


def is_grafted_state(state: Mapping[str, Tensor]) -> bool:
    """Whether `state` has the keys of a published grafted checkpoint."""
    return any(_GRAFT_KEY.fullmatch(key) for key in state)


def convert_grafted_state(
    state: Mapping[str, Tensor], sites: Sequence[str], parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """A published grafted checkpoint under this package's names.

    `layer{k}.weight` becomes `{k}.weight`, other parameters keep their names; parameters that then
    match no name of the network are matched by forward order if their count, kinds (weight, bias)
    and shapes agree one by one. `linear_masked_relu{k}.{mask,slope,bias}` becomes
    `{site}.{mask,slope,intercept}`: site "{k}" if those are exactly the sites' names, else the
    numbers in ascending order are the sites in forward order.

    Args:
        state: name → tensor, parameters in forward order.
        sites: names of the network's activations in forward order.
        parameters: the ungrafted network's own entries (its `state_dict()`), in forward order.

    Returns:
        The parameters in the order of `parameters`, then mask (bool), slope and intercept of every site.

    Raises:
        ModelError: the checkpoint does not fit the network.
        MaskError: a mask holds other values than 0 and 1.
    """
    grafts = {key: tensor for key, tensor in state.items() if _GRAFT_KEY.fullmatch(key)}
    plain = {key: tensor for key, tensor in state.items() if key not in grafts}
    return {**_convert_parameters(plain, parameters), **_convert_grafts(grafts, sites)}


def _convert_parameters(state: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {key if key in parameters else _LAYER_KEY.sub(r"\1.\2", key): tensor for key, tensor in state.items()}
    rest = [key for key in renamed if key not in parameters]
    open_names = [name for name in parameters if name not in renamed]
    if len(rest) != len(open_names):
        raise ModelError(
            f"checkpoint: {len(rest)} parameters are unknown to the network ({', '.join(rest[:4])}), "
            f"which lacks {len(open_names)} ({', '.join(open_names[:4])}); is it of another architecture?"
        )
    sources = {name: name for name in parameters if name in renamed} | dict(zip(open_names, rest, strict=True))
    for name, source in sources.items():
        same_kind = name.rpartition(".")[2] == source.rpartition(".")[2]
        if not same_kind or renamed[source].shape != parameters[name].shape:
            raise ModelError(
                f"checkpoint: {source!r} {tuple(renamed[source].shape)} does not fit the network's "
                f"{name!r} {tuple(parameters[name].shape)}; is it of another architecture?"
            )
    return {name: renamed[sources[name]] for name in parameters}


def _convert_grafts(state: Mapping[str, Tensor], sites: Sequence[str]) -> dict[str, Tensor]:
    numbers = sorted({int(key.partition(".")[0].removeprefix("linear_masked_relu")) for key in state})
    if len(numbers) != len(sites):
        raise ModelError(f"checkpoint: {len(numbers)} grafted activations, the network has {len(sites)}")
    by_name = {str(number) for number in numbers} == set(sites)
    converted: dict[str, Tensor] = {}
    for number, site in zip(numbers, sites, strict=True):
        legacy = f"linear_masked_relu{number}"
        missing = [f"{legacy}.{part}" for part in ("mask", "slope", "bias") if f"{legacy}.{part}" not in state]
        if missing:
            raise ModelError(f"checkpoint: {missing[0]!r} is missing")
        target = str(number) if by_name else site
        converted[f"{target}.mask"] = as_boolean(state[f"{legacy}.mask"], f"checkpoint: {legacy}.mask")
        converted[f"{target}.slope"] = state[f"{legacy}.slope"]
        converted[f"{target}.intercept"] = state[f"{legacy}.bias"]
    return converted
