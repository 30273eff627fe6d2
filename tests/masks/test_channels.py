"""Masks by whole channels: nothing is split, counts are as near as can be, order is that of the criterion."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from selected_masks import select_mask
from torch import Tensor

from abcrown_graft.errors import ConfigError
from abcrown_graft.masks.channels import channel_units, take_units
from abcrown_graft.masks.presets import PRESETS, Stage
from abcrown_graft.masks.selection import GraftWarning, target_count

SHAPES = {"a": (5, 3, 2), "b": (4, 2, 2), "c": (7,)}


def scores(seed: int, shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def by_channel(*args: object, **kwargs: object) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GraftWarning)
        return select_mask(*args, granularity="channel", **kwargs)


def grafted_channels(mask: Tensor) -> list[int]:
    """The channels that are grafted; fails if one is so in part."""
    share = mask.double().flatten(1).mean(1)
    assert set(share.tolist()) <= {0.0, 1.0}
    return share.nonzero().flatten().tolist()


def test_units_are_channels_and_dense_neurons():
    units = channel_units([(2, 1, 3), (2,), (0, 2, 2), (3, 0, 1)])
    assert units.owner.tolist() == [0, 0, 0, 1, 1, 1, 2, 3]
    assert units.size.tolist() == [3, 3, 1, 1] and units.site.tolist() == [0, 0, 1, 1]
    assert units.mean(torch.arange(8.0).numpy()).tolist() == [1.0, 4.0, 6.0, 7.0]


@pytest.mark.parametrize("preset", PRESETS.names())
@pytest.mark.parametrize("scope", ("global", "layer"))
@settings(deadline=None, max_examples=15)
@given(ratio=st.floats(0, 1), seed=st.integers(0, 100))
def test_channels_stay_whole_and_the_count_is_as_near_as_they_allow(preset: str, scope: str, ratio: float, seed: int):
    r_u, r_s = scores(seed), scores(seed + 1000)
    mask = by_channel(r_u, r_s, ratio, preset, scope=scope, stages=9)
    grafted_channels(mask["a"]), grafted_channels(mask["b"])
    sizes = [r_u[name].numel() for name in SHAPES]
    count = {name: int(part.sum()) for name, part in mask.items()}
    if scope == "global":
        missed = abs(sum(count.values()) - target_count(sizes, ratio))
        assert missed <= (3 if mask["b"].all() else 2)  # half of the smallest channel that is left
        assert missed == 0 or mask["c"].all(), "single neurons fill what channels leave"
    else:
        assert count["c"] == round(ratio * 7)
        assert abs(count["a"] - round(ratio * 30)) <= 3 and abs(count["b"] - round(ratio * 16)) <= 2


@pytest.mark.parametrize(("ratio", "channels"), [(0.2, 0), (0.5, 1), (0.55, 1), (0.74, 1), (0.8, 2)])
def test_overshooting_is_chosen_only_where_it_is_nearer(ratio: float, channels: int):
    r_u = {"a": torch.tensor([0.2, 0.9]).reshape(2, 1, 1).expand(2, 5, 2)}  # 20 neurons in channels of 10
    mask = by_channel(r_u, None, ratio, "unstable")
    assert grafted_channels(mask["a"]) == [[], [1], [0, 1]][channels]


def test_the_criterion_of_a_channel_is_the_mean_over_its_positions():
    r_u = {"a": torch.tensor([[[1.0, 0.0]], [[0.6, 0.6]], [[0.0, 0.9]], [[0.0, 0.0]]])}
    assert grafted_channels(by_channel(r_u, None, 0.5, "unstable")["a"]) == [0, 1]
    assert grafted_channels(by_channel(r_u, None, 0.25, "unstable")["a"]) == [1]


def test_of_equal_channels_the_earlier_is_taken():
    r_u = {"a": torch.ones(4, 2, 2), "b": torch.zeros(1, 1, 4)}
    assert grafted_channels(by_channel(r_u, None, 0.4, "unstable")["a"]) == [0, 1]


def test_a_stage_that_a_channel_does_not_fit_into_leaves_its_count_to_the_next():
    # Two neurons a stage: the best channel of four is taken as soon as four may be, before any of the worse neurons.
    units, r_u = channel_units([(2, 2, 2), (4,)]), np.array([0.5] * 4 + [0.9] * 4 + [0.1, 0.2, 0.6, 0.3])
    nothing, stages = np.zeros(12), [Stage(2, 1.0)] * 3
    taken = [
        take_units(stages[:count], (r_u, nothing, nothing), units, (8, 4)).nonzero()[0].tolist() for count in (1, 2, 3)
    ]
    assert taken == [[10, 11], [4, 5, 6, 7], [4, 5, 6, 7, 10, 11]]


@pytest.mark.parametrize("preset", PRESETS.names())
def test_dense_networks_are_grafted_as_neuron_by_neuron_up_to_rounding_of_stages(preset: str):
    r_u, r_s = scores(3, {"x": (30,), "y": (20,)}), scores(4, {"x": (30,), "y": (20,)})
    chosen, single = by_channel(r_u, r_s, 0.5, preset), select_mask(r_u, r_s, 0.5, preset)
    assert all(torch.equal(chosen[name], single[name]) for name in chosen)


def test_a_layer_cap_is_never_exceeded():
    for seed in range(10):
        mask = by_channel(scores(seed), scores(seed + 50), 0.4, "thesis", layer_cap=0.5)
        assert all(part.sum() <= 0.5 * part.numel() for part in mask.values())


def test_random_channels_are_as_likely_as_each_other_and_decided_by_the_seed():
    r_u = {"a": torch.zeros(6, 8, 8), "d": torch.zeros(384)}
    taken = [by_channel(r_u, None, 0.5, "random", seed=seed) for seed in range(40)]
    share = torch.stack([mask["a"].double().mean() for mask in taken]).mean()
    assert 0.4 < share < 0.6
    again = by_channel(r_u, None, 0.5, "random", seed=7)
    assert all(torch.equal(again[name], taken[7][name]) for name in again)


def test_an_unknown_granularity_is_refused():
    with pytest.raises(ConfigError, match="mask.granularity: expected one of neuron, channel, got 'pixel'"):
        select_mask(scores(0), None, 0.5, "unstable", granularity="pixel")
