"""Selects the neurons to graft from their instability r_u and significance r_s.

Ties are broken the same way everywhere: neurons are ordered by site in forward order, within a
site in row-major order, and of neurons with equal criteria the earlier one is taken. The result is
that of a stable descending sort, found without sorting.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.errors import ConfigError, MaskError
from abcrown_graft.masks.channels import channel_units, take_units
from abcrown_graft.masks.identity import explain_sites
from abcrown_graft.masks.mappings import MAPPINGS
from abcrown_graft.masks.options import MaskSettings
from abcrown_graft.masks.presets import PRESETS, Stage


class GraftWarning(UserWarning):
    """A mask that is valid but rarely meant, for example one that grafts a whole layer."""


def select_mask(
    instability: Mapping[str, Tensor],
    significance: Mapping[str, Tensor] | None,
    settings: MaskSettings,
) -> dict[str, Tensor]:
    """The neurons to graft: the largest γ·r_u − r_s, stage by stage (`presets`).

    With scope "global" the mapping and the selection see all layers at once and exactly
    `round(ratio · neurons)` neurons are taken (half to even); with scope "layer" both are done
    within each site and exactly `round(ratio · neurons of the site)` are taken from every site. With
    granularity "channel" the counts are hit as closely as `channels` says.

    Args:
        instability: r_u by site, in forward order; any real values, tensors of the site's shape.
        significance: r_s by site, the same sites and shapes; None where the preset needs none.
        settings: how, see `MaskSettings`.

    Returns:
        By site, in the order of `instability`, a boolean CPU tensor of the site's shape; true = grafted.

    Raises:
        ConfigError: a ratio that the cap makes impossible, or no significance where the preset needs it.
        MaskError: the two scores have other sites or shapes.
        DataError: a score is not finite.

    Warns:
        GraftWarning: some layer is grafted completely.
    """
    preset = PRESETS[settings.preset]
    if significance is None:
        if settings.needs_significance:
            raise ConfigError(
                f"mask preset {settings.preset!r} needs significance scores; give them or use preset 'unstable'"
            )
        significance = {name: torch.zeros_like(score) for name, score in instability.items()}
    _check_same_sites(instability, significance)
    chance = _uniform(instability, settings.seed, settings.granularity)
    masks: dict[str, Tensor] = {}
    for names in _groups(instability, settings.scope):
        r_u, r_s = (MAPPINGS[settings.mapping](_flatten(scores, names)) for scores in (instability, significance))
        sizes = [instability[name].numel() for name in names]
        target = target_count(sizes, settings.ratio)
        room = _room(names, sizes, target, settings.layer_cap)
        stages = preset(target, settings.gamma, settings.stages)
        flat = [score.numpy() for score in (r_u, r_s, _flatten(chance, names))]
        if settings.granularity == "channel":
            units = channel_units([tuple(instability[name].shape) for name in names])
            taken = take_units(stages, flat, units, room)
        else:
            taken = _take_stages(stages, flat, sizes, room)
        parts = zip(names, torch.from_numpy(taken).split(sizes), strict=True)
        masks.update((name, part.reshape(instability[name].shape)) for name, part in parts)
    _warn_complete(masks)
    return masks


def check_room(sizes: Mapping[str, int], ratio: float, scope: str = "global", layer_cap: float | None = None) -> None:
    """Whether a selection can reach its ratio, from nothing but the number of neurons of each site.

    Args:
        sizes: number of neurons by site.
        ratio, scope, layer_cap: as of `select_mask`.

    Raises:
        ConfigError: the cap makes it impossible.
    """
    for names in _groups(sizes, scope):
        own = [sizes[name] for name in names]
        _room(names, own, target_count(own, ratio), layer_cap)


def _groups(sites: Iterable[str], scope: str) -> list[list[str]]:
    """The sites that are selected from together."""
    return [list(sites)] if scope == "global" else [[name] for name in sites]


def target_count(sizes: Sequence[int], ratio: float, scope: str = "global") -> int:
    """How many of the neurons of sites of these sizes a selection is to take.

    Args:
        sizes: number of neurons of each site.
        ratio, scope: as of `select_mask`.
    """
    return sum(round(ratio * size) for size in sizes) if scope == "layer" else round(ratio * sum(sizes))


def _check_same_sites(instability: Mapping[str, Tensor], significance: Mapping[str, Tensor]) -> None:
    shapes = [{name: tuple(score.shape) for name, score in scores.items()} for scores in (instability, significance)]
    difference = explain_sites(*shapes)
    if difference:
        raise MaskError(f"the significance scores are of another model than the instability: {difference}")


def _uniform(like: Mapping[str, Tensor], seed: int, granularity: str) -> dict[str, Tensor]:
    """A random number of every neuron; by channels, one that the neurons of a channel share."""
    generator = torch.Generator().manual_seed(seed)
    numbers = {}
    for name, score in like.items():
        shape = tuple(score.shape)
        drawn = (shape[0], 1, 1) if granularity == "channel" and len(shape) == 3 else shape
        numbers[name] = torch.rand(drawn, generator=generator, dtype=torch.float64).expand(shape)
    return numbers


def _flatten(scores: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """The scores of `names` as one float64 CPU tensor `(neurons,)`."""
    parts = [scores[name].detach().to("cpu", torch.float64).reshape(-1) for name in names]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def _room(names: Sequence[str], sizes: Sequence[int], target: int, cap: float | None) -> list[int]:
    """How many neurons each site may give."""
    if cap is None:
        return list(sizes)
    room = [math.floor(round(cap * size, 9)) for size in sizes]  # 0.29 · 100 is 29, not 28.999...
    if sum(room) < target:
        where = f"site {names[0]!r}" if len(names) == 1 else "all sites"
        raise ConfigError(
            f"layer cap {cap} leaves {sum(room)} of {sum(sizes)} neurons of {where}, fewer than the {target} to graft; "
            "raise the cap or lower the ratio"
        )
    return room


def _take_stages(
    stages: Sequence[Stage], scores: Sequence[np.ndarray], sizes: Sequence[int], room: Sequence[int]
) -> np.ndarray:
    """The neurons `(neurons,)` that the stages take, each leaving those of the earlier ones alone.

    In NumPy: the many small steps of a hundred stages wait for one another on torch's threads.
    """
    r_u, r_s, chance = scores
    ends = np.cumsum(sizes)[:-1]
    taken = np.zeros(r_u.shape, dtype=bool)
    for stage in stages:
        criterion = stage.instability * r_u - stage.significance * r_s + stage.chance * chance
        criterion[taken] = -np.inf
        left = [limit - int(part.sum()) for limit, part in zip(room, np.split(taken, ends), strict=True)]
        _close_full_sites(np.split(criterion, ends), stage.count, left)
        taken |= _largest(criterion, stage.count)
    return taken


def _close_full_sites(criteria: Sequence[np.ndarray], count: int, left: Sequence[int]) -> None:
    """Sets to −∞, in place, all but the best `left` neurons of each site that could give more to a stage of `count`."""
    for site, limit in zip(criteria, left, strict=True):
        if limit < min(count, site.size):
            site[~_largest(site, limit)] = -np.inf


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Marks the `count` largest entries of `values` `(n,)`; of equal ones, the earlier."""
    if count == 0:
        return np.zeros(values.shape, dtype=bool)
    place = values.size - count
    threshold = np.partition(values, place)[place]
    chosen = values > threshold
    ties = np.flatnonzero(values == threshold)
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen


def _warn_complete(masks: Mapping[str, Tensor]) -> None:
    complete = [name for name, mask in masks.items() if mask.numel() and bool(mask.all())]
    if complete:
        message = f"grafted completely: {', '.join(complete)}; nothing nonlinear is left there, a layer cap prevents it"
        warnings.warn(message, GraftWarning, stacklevel=3)
