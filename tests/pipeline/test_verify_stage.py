"""Verification of one network of a pipeline, with its instability on the same images."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Listener, miniature
from decisions import with_decisions, with_defect

from abcrown_graft.assembly.artifacts import dump_path, results_path
from abcrown_graft.config.config import Config
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.formats.results import read_results
from abcrown_graft.masks import dump as dumps
from abcrown_graft.models.weights import package_folder
from abcrown_graft.pipeline.verify_stage import verify_stage
from abcrown_graft.verdict import Verdict

WEIGHTS = package_folder() / "model_defs" / "weights" / "digits_baseline.safetensors"


def configured(folder: Path, **changed: object) -> Config:
    return miniature(folder, **{"model__path": str(WEIGHTS), "data__end": 7, "specification__epsilon": 0.1, **changed})


def test_results_and_instability_are_of_the_same_images(tmp_path: Path) -> None:
    config, listener = configured(tmp_path), Listener()
    path = verify_stage(config, listener, "baseline")
    assert path == results_path(config, "baseline").absolute() == tmp_path / "out" / "verify_baseline.jsonl"
    _, results, complete = read_results(path)
    assert complete and [result.index for result in results] == list(range(7)) and listener.steps == 7
    right = [result.index for result in results if result.predicted == result.label]
    assert dumps.load(dump_path(config, "baseline")).indices.tolist() == right


def test_the_outcome_is_told_in_two_lines(tmp_path: Path) -> None:
    listener = Listener()
    _, results, _ = read_results(verify_stage(configured(tmp_path), listener, "baseline"))
    safe = sum(result.verdict is Verdict.VERIFIED for result in results)
    assert listener.lines[:2] == ["baseline:", f"Final verified acc: {100 * safe / 7}% (total 7 examples)"]
    assert listener.lines[2].startswith("Problem instances count: 7 ,") and len(listener.lines) == 3


def test_the_configurations_own_results_file_and_dump_are_not_touched(tmp_path: Path) -> None:
    files = {"general__results_file": str(tmp_path / "a.txt"), "instability__dump": str(tmp_path / "b.st")}
    verify_stage(configured(tmp_path, **files), Listener(), "baseline")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["miniature.yaml", "out"]


def test_counterexamples_of_two_networks_do_not_meet(tmp_path: Path) -> None:
    config = configured(tmp_path, general__save_adv_example=True, specification__epsilon=0.4)
    _, results, _ = read_results(verify_stage(config, Listener(), "baseline"))
    unsafe = [result.index for result in results if result.verdict is Verdict.FALSIFIED]
    assert unsafe
    found = sorted(path.name for path in (tmp_path / "out").glob("counterexample*"))
    assert found == [f"counterexample_baseline_{index}.txt" for index in unsafe]
    mine = str(tmp_path / "mine" / "cex.txt")
    named = configured(tmp_path, general__save_adv_example=True, specification__epsilon=0.4, attack__cex_path=mine)
    verify_stage(named, Listener(), "grafted")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        f"cex_grafted_{index}.txt" for index in unsafe
    ]


@pytest.mark.parametrize("saved", [True, False])
def test_the_results_say_where_the_counterexamples_lie(tmp_path: Path, saved: bool) -> None:
    mine = str(tmp_path / "mine" / "cex.txt")
    config = configured(tmp_path, general__save_adv_example=saved, attack__cex_path=mine, data__end=1)
    header, _, _ = read_results(verify_stage(config, Listener(), "baseline"))
    assert header["counterexamples"] == ("../mine/cex_baseline.txt" if saved else None)


def test_a_verification_goes_on_though_its_counterexamples_go_elsewhere(tmp_path: Path) -> None:
    saving = {"general__save_adv_example": True, "data__end": 2}
    path = verify_stage(configured(tmp_path, **saving), Listener(), "baseline")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    listener = Listener()
    verify_stage(configured(tmp_path, attack__cex_path=str(tmp_path / "c.txt"), **saving), listener, "baseline")
    assert listener.steps == 1


def test_a_failed_image_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_decisions(monkeypatch, with_defect(0))
    listener = Listener()
    verify_stage(configured(tmp_path), listener, "baseline")
    assert listener.lines[-1] == "warning: image 0 failed: RuntimeError: a defect"


def test_what_the_native_engine_does_not_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="bab.branching.method = 'fsb'"):
        verify_stage(configured(tmp_path, bab__branching__method="fsb"), Listener(), "baseline")
    assert not (tmp_path / "out").exists()
