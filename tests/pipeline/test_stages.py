"""Which stages a configuration has, which of them runs share, and what they depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import miniature

from abcrown_graft.assembly.artifacts import DEFAULTS
from abcrown_graft.config.config import Config
from abcrown_graft.masks.presets import PRESETS
from abcrown_graft.pipeline.stages import Stage, pipeline_stages

PLAIN = ["train", "verify baseline", "evaluate baseline"]
GRAFTED = ["mask", "tune", "verify grafted", "evaluate grafted"]


def stages(config: Config) -> dict[str, Stage]:
    return {stage.name: stage for stage in pipeline_stages(config)}


def test_the_plain_network_alone_has_no_stage_that_grafts(tmp_path: Path) -> None:
    assert list(stages(miniature(tmp_path, pipeline__networks="baseline"))) == [*PLAIN, "report"]


@pytest.mark.parametrize("preset", PRESETS.names())
def test_significance_is_made_where_the_preset_looks_at_it(tmp_path: Path, preset: str) -> None:
    found = stages(miniature(tmp_path, mask__preset=preset))
    scores = {path for name in found if name.startswith("significance") for path in found[name].writes}
    assert bool(scores) is (preset not in ("random", "unstable"))
    assert scores == {path for path in found["mask"].reads if "significance" in path.name}
    assert found["instability"].writes[0] in found["mask"].reads, "it says which network the mask is for"


def test_what_is_shared_is_written_to_the_baseline_and_the_rest_is_not(tmp_path: Path) -> None:
    found = stages(miniature(tmp_path, pipeline__baseline=str(tmp_path / "base")))
    shared = [*PLAIN, "instability", "significance gradient"]
    assert {name for name, stage in found.items() if stage.shared} == set(shared)
    for name, stage in found.items():
        folder = tmp_path / ("base" if name in shared else "out")
        assert {path.parent for path in stage.writes} == {folder}, name


def test_runs_with_one_baseline_depend_on_the_same_in_what_they_share(tmp_path: Path) -> None:
    base = {"pipeline__baseline": str(tmp_path / "base")}
    own = {"mask__preset": "insignificant", "mask__ratio": 0.3, "tune__epochs": 7, "pipeline__label": "mine"}
    a, b = miniature(tmp_path, **base), miniature(tmp_path, **base, **own, significance__method="magnitude")
    for name, stage in stages(a).items():
        if not stage.shared or name.startswith("significance"):
            continue
        other = stages(b)[name]
        assert (stage.reads, stage.writes, a.fingerprint(stage.keys)) == (
            other.reads,
            other.writes,
            b.fingerprint(other.keys),
        )


def test_scores_of_two_methods_are_two_stages(tmp_path: Path) -> None:
    found = [stages(miniature(tmp_path, significance__method=method)) for method in ("gradient", "magnitude")]
    assert "significance gradient" in found[0] and "significance magnitude" in found[1]
    assert found[0]["significance gradient"].writes != found[1]["significance magnitude"].writes


def test_learned_scores_depend_on_what_they_are_learned_with(tmp_path: Path) -> None:
    keys = stages(miniature(tmp_path, significance__method="learned"))["significance learned"].keys
    assert {"train.attack_step", "tune.slope", "tune.intercept", "significance.lr"} <= set(keys)
    assert "tune.slope_lr" not in keys, "a key is not the beginning of another one"
    assert "tune.slope" not in stages(miniature(tmp_path))["significance gradient"].keys


def test_tuning_depends_on_the_images_that_lines_are_fitted_to(tmp_path: Path) -> None:
    images = {"significance.samples", "significance.batch_size"}
    assert images <= set(stages(miniature(tmp_path, tune__fit_lines=True))["tune"].keys)
    assert not images & set(stages(miniature(tmp_path))["tune"].keys)


@pytest.mark.parametrize(
    ("changed", "solver", "attack"),
    [
        ({}, False, False),
        ({"instability__method": "alpha-crown"}, True, False),
        ({"instability__population": "bab"}, True, True),
    ],
)
def test_counting_depends_on_the_cascade_as_far_as_it_is_run(
    tmp_path: Path, changed: dict[str, object], solver: bool, attack: bool
) -> None:
    keys = stages(miniature(tmp_path, **changed))["instability"].keys
    assert ("solver.alpha-crown.iteration" in keys, "attack.pgd_steps" in keys) == (solver, attack)
    assert {"solver.bound_prop_method", "instability.end", "specification.robustness_type"} <= set(keys)


def test_a_stage_depends_on_the_images_it_reads(tmp_path: Path) -> None:
    found = stages(miniature(tmp_path, data__split="train", instability__split="test"))
    assert {name: stage.splits for name, stage in found.items()} == {
        **dict.fromkeys(("train", "significance gradient", "tune"), ("train",)),
        **{f"{what} {which}": ("train",) for what in ("verify", "evaluate") for which in ("baseline", "grafted")},
        "instability": ("test",),
        "mask": (),
        "report": (),
    }


def test_only_bounds_depend_on_their_precision(tmp_path: Path) -> None:
    bounding = {name for name, stage in stages(miniature(tmp_path)).items() if "general.double_fp" in stage.keys}
    assert bounding == {"instability", "verify baseline", "verify grafted"}


def test_verification_depends_on_what_the_list_of_images_says(tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("3\n")
    found = stages(miniature(tmp_path, data__data_idx_file=str(tmp_path / "some.txt")))
    readers = {name for name, stage in found.items() if tmp_path / "some.txt" in stage.reads}
    assert readers == {"verify baseline", "verify grafted"}


def test_where_files_lie_is_no_setting(tmp_path: Path) -> None:
    for stage in pipeline_stages(miniature(tmp_path)):
        assert not {*DEFAULTS, "data.data_dir", "pipeline.output", "train.tensorboard"} & set(stage.keys), stage.name


def test_a_finished_network_is_not_trained(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").touch()
    config = miniature(tmp_path, model__path=str(tmp_path / "net.safetensors"))
    assert "train" not in stages(config)
    assert stages(config)["verify baseline"].reads == (tmp_path / "net.safetensors",)
