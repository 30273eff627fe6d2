from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from selected_masks import select_mask

from abcrown_graft.errors import ConfigError, DataError, MaskError
from abcrown_graft.masks.mappings import MAPPINGS
from abcrown_graft.masks.presets import PRESETS
from abcrown_graft.masks.selection import GraftWarning

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "grafting" / "convbig_cifar"
presets = pytest.mark.parametrize("preset", PRESETS.names())


def scores(*shapes, seed=0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {f"s{i}": torch.rand(shape, generator=generator) for i, shape in enumerate(shapes)}


def quietly(*args, **kwargs) -> dict[str, torch.Tensor]:
    """`select_mask`, for tests that may graft whole layers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GraftWarning)
        return select_mask(*args, **kwargs)


def indices(mask) -> list[int]:
    return torch.nonzero(torch.cat([part.flatten() for part in mask.values()])).flatten().tolist()


def by_sorting(r_u, r_s, schedule, site, room) -> list[int]:
    """The definition: repeated stable descending sorts over plain Python lists."""
    taken: list[int] = []
    for stage in schedule:
        left = [i for i in range(len(r_u)) if i not in taken]
        left.sort(key=lambda i, stage=stage: -(stage.instability * r_u[i] - stage.significance * r_s[i]))
        goal = len(taken) + stage.count
        for i in left:
            if len(taken) < goal and sum(site[j] == site[i] for j in taken) < room[site[i]]:
                taken.append(i)
    return sorted(taken)


@pytest.mark.parametrize("preset", ["paper", "thesis", "fixed", "unstable", "insignificant"])
@pytest.mark.parametrize("mapping", MAPPINGS.names())
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_equals_repeated_stable_sorting_also_with_many_ties(preset, mapping, data):
    few = st.lists(st.integers(0, 3), min_size=12, max_size=12)
    r_u, r_s = (torch.tensor(data.draw(few), dtype=torch.float64) for _ in range(2))
    cap = data.draw(st.sampled_from([None, 0.5, 0.75, 1.0]))
    ratio = data.draw(st.floats(0, cap or 1.0))
    mask = quietly(
        {"a": r_u[:8].reshape(2, 4), "b": r_u[8:]},
        {"b": r_s[8:], "a": r_s[:8].reshape(2, 4)},
        ratio,
        preset,
        mapping=mapping,
        stages=5,
        layer_cap=cap,
    )
    schedule = PRESETS[preset](round(ratio * 12), 2.0, 5)
    mapped = [MAPPINGS[mapping](score).tolist() for score in (r_u, r_s)]
    room = [8 * (cap or 1), 4 * (cap or 1)]
    assert indices(mask) == by_sorting(*mapped, schedule, [0] * 8 + [1] * 4, room)


@presets
@settings(deadline=None, max_examples=20)
@given(ratio=st.floats(0, 1), seed=st.integers(0, 5))
def test_the_count_is_exact_for_any_ratio(preset, ratio, seed):
    r_u, r_s = scores((3, 5), (7,), (0,), seed=seed), scores((3, 5), (7,), (0,), seed=seed + 1)
    mask = quietly(r_u, r_s, ratio, preset, stages=7)
    assert {name: (part.shape, part.dtype) for name, part in mask.items()} == {
        name: (score.shape, torch.bool) for name, score in r_u.items()
    }
    assert len(indices(mask)) == round(ratio * 22)
    layered = quietly(r_u, r_s, ratio, preset, scope="layer", stages=7)
    assert [int(part.sum()) for part in layered.values()] == [round(ratio * 15), round(ratio * 7), 0]


@pytest.mark.parametrize("preset", ["paper", "thesis", "fixed", "unstable", "insignificant"])
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_permuting_neurons_without_ties_permutes_the_mask(preset, data):
    size = 12
    r_u, r_s = torch.arange(size) ** 2, (torch.arange(size) * 5 % size) ** 1.5
    order = torch.tensor(data.draw(st.permutations(range(size))))
    mask = select_mask({"a": r_u}, {"a": r_s}, 0.5, preset, stages=4)["a"]
    permuted = select_mask({"a": r_u[order]}, {"a": r_s[order]}, 0.5, preset, stages=4)["a"]
    assert torch.equal(permuted, mask[order])


def test_ties_go_to_the_earlier_neuron_in_forward_order():
    same = {"z": torch.zeros(2, 2), "a": torch.zeros(3)}
    mask = select_mask(same, same, 3 / 7)
    assert mask["z"].tolist() == [[True, True], [True, False]]
    assert mask["a"].tolist() == [False, False, False]


@pytest.mark.parametrize(("ratio", "count"), [(0.5, 2), (0.3, 2), (0.7, 4), (0.1, 0)])
def test_the_target_is_rounded_half_to_even(ratio, count):
    assert len(indices(select_mask(scores((5,)), scores((5,), seed=1), ratio))) == count


def test_each_stage_leaves_the_neurons_of_the_earlier_ones_alone():
    # gamma 2: neuron 0 (2), 1.5: neuron 1 (0.75), 1: neuron 1 is gone, 2 (-0.1), 0: neuron 3 (-0.2).
    r_u = torch.tensor([1.0, 0.5, 0.1, 0.0, 0.0, 0.0, 0.3, 0.0])
    r_s = torch.tensor([0.0, 0.0, 0.2, 0.2, 1.0, 0.9, 0.9, 0.8])
    assert indices(select_mask({"a": r_u}, {"a": r_s}, 0.5, "thesis")) == [0, 1, 2, 3]


def test_scope_global_maps_over_all_layers_and_scope_layer_within_each():
    r_u = {"a": torch.tensor([1.0, 2.0, 3.0, 4.0]), "b": torch.tensor([10.0, 20.0, 30.0, 40.0])}
    r_s = {name: torch.zeros(4) for name in r_u}
    with pytest.warns(GraftWarning, match="grafted completely: b;"):
        assert indices(select_mask(r_u, r_s, 0.5, "unstable")) == [4, 5, 6, 7]
    assert indices(select_mask(r_u, r_s, 0.5, "unstable", scope="layer")) == [2, 3, 6, 7]


@presets
@settings(deadline=None, max_examples=20)
@given(ratio=st.floats(0, 0.7))
def test_no_site_exceeds_its_cap_and_the_count_stays_exact(preset, ratio):
    r_u, r_s = scores((4, 5), (10,)), scores((4, 5), (10,), seed=1)
    mask = select_mask(r_u, r_s, ratio, preset, layer_cap=0.7, stages=5)
    assert len(indices(mask)) == round(ratio * 30)
    assert int(mask["s0"].sum()) <= 14
    assert int(mask["s1"].sum()) <= 7


def test_a_cap_passes_the_surplus_of_a_full_site_on_to_the_next_best():
    r_u = {"a": torch.tensor([1.0, 2.0, 3.0, 4.0]), "b": torch.tensor([10.0, 30.0, 20.0, 40.0])}
    mask = select_mask(r_u, None, 0.5, "unstable", layer_cap=0.5)
    assert indices(mask) == [2, 3, 5, 7]


def test_the_cap_is_a_decimal_number():
    mask = select_mask(scores((100,)), None, 0.29, "unstable", layer_cap=0.29)  # 0.29 * 100 < 29 in floats
    assert len(indices(mask)) == 29


@pytest.mark.parametrize(("scope", "where"), [("global", "all sites"), ("layer", "site 's0'")])
def test_a_cap_that_makes_the_ratio_impossible_is_refused(scope, where):
    with pytest.raises(ConfigError, match=rf"layer cap 0.3 leaves .* of {where}, fewer than"):
        select_mask(scores((10,), (20,)), None, 0.5, "unstable", scope=scope, layer_cap=0.3)


def test_random_depends_on_the_seed_only():
    r_u, other = scores((50,), (50,)), scores((50,), (50,), seed=9)
    assert indices(select_mask(r_u, None, 0.3, "random")) == indices(select_mask(other, None, 0.3, "random"))
    assert indices(select_mask(r_u, None, 0.3, "random")) != indices(select_mask(r_u, None, 0.3, "random", seed=101))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1.5}, "^mask.ratio: expected .*, got 1.5"),
        ({"ratio": -0.1}, "^mask.ratio: expected .*, got -0.1"),
        ({"ratio": float("nan")}, "^mask.ratio: expected .*, got nan"),
        ({"preset": "papers"}, "^mask.preset: expected one of paper, .*, got 'papers'"),
        ({"mapping": "rank"}, "^mask.mapping: expected one of norank, .*, got 'rank'"),
        ({"scope": "site"}, "^mask.scope: expected one of global, layer, got 'site'"),
        ({"gamma": float("inf")}, "^mask.gamma: expected .*, got inf"),
        ({"stages": 0}, "^mask.stages: expected .*, got 0"),
        ({"layer_cap": 1.1}, "^mask.layer_cap: expected .*, got 1.1"),
        ({"significance": None}, "mask preset 'paper' needs significance"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    given_options = {"significance": scores((4,)), "ratio": 0.5, **options}
    with pytest.raises(ConfigError, match=message):
        select_mask(scores((4,)), **given_options)


def test_scores_of_different_models_and_values_that_are_not_finite_are_refused():
    with pytest.raises(MaskError, match=r"another model .*'s0' \(5,\) instead of \(4,\)"):
        select_mask(scores((4,)), scores((5,)), 0.5)
    with pytest.raises(MaskError, match="missing sites: 's1'"):
        select_mask(scores((4,), (2,)), scores((4,)), 0.5)
    with pytest.raises(DataError, match="only finite scores"):
        select_mask({"a": torch.tensor([1.0, float("nan")])}, None, 0.5, "unstable")


def test_a_hundred_stages_over_a_large_network_take_exactly_half_of_it():
    r_u, r_s = scores((229_888,)), scores((229_888,), seed=1)
    mask = select_mask(r_u, r_s, 0.5, "paper", layer_cap=0.9)
    assert int(mask["s0"].sum()) == 114_944


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published score files are not at ../shared")
@pytest.mark.parametrize(
    ("heuristic", "mapping"),
    [("gradient", "min"), ("gradient", "norank"), ("magnitude", "min"), ("variance", "min")],
)
def test_the_published_masks_of_convbig_regenerate_exactly(heuristic, mapping):
    from abcrown_graft.masks.legacy import legacy_scores, load_tensor_list

    short = {"gradient": "grad", "magnitude": "mag", "variance": "var"}[heuristic]
    published = load_tensor_list(SHARED / f"{short}_mask_stdg_{mapping}.pt")
    instability = legacy_scores(SHARED / "score_instability.pth", kind="instability")
    significance = legacy_scores(SHARED / f"score_{heuristic}.pth")
    mask = quietly(instability.values, significance.values, 0.5, "thesis", mapping=mapping)
    assert len(indices(mask)) == 31_232
    assert all(torch.equal(part, old.bool()) for part, old in zip(mask.values(), published, strict=True))
