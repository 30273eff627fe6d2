"""Adversarial examples on the other network, with networks whose outputs are known by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from report_runs import RunWriter, loaded, plain_core, result

from abcrown_graft.errors import FileFormatError
from abcrown_graft.report.run_folder import open_run
from abcrown_graft.report.transfer import Transfer, read_counterexamples, transfer
from abcrown_graft.report.transfer_section import transfer_section
from abcrown_graft.verdict import Verdict

ATTACKED = {i: result(i, Verdict.FALSIFIED) for i in range(4)}
CORRECT = {i: result(i, Verdict.VERIFIED) for i in range(4)}


def point(first: float, second: float) -> torch.Tensor:
    return torch.tensor([first, second]).view(1, 1, 2)


def test_fooled_among_those_that_the_target_classifies_correctly() -> None:
    target = {**CORRECT, 3: result(3, Verdict.FALSIFIED, predicted=1)}
    points = {0: point(0.2, 0.3), 1: point(0.3, 0.2), 3: point(0.2, 0.3)}
    found = transfer(ATTACKED, target, points, loaded(plain_core()))
    assert found == Transfer(attacked=4, found=3, correct=2, fooled=1) and found.share == 0.5


def test_a_tie_is_no_success_of_the_target() -> None:
    assert transfer(ATTACKED, CORRECT, {0: point(0.25, 0.25)}, loaded(plain_core())).fooled == 1


def test_images_that_the_source_misclassifies_are_no_adversarial_examples() -> None:
    source = {**ATTACKED, 0: result(0, Verdict.FALSIFIED, predicted=1)}
    found = transfer(source, CORRECT, {0: point(0.2, 0.3)}, loaded(plain_core()))
    assert found == Transfer(attacked=3, found=0, correct=0, fooled=0) and found.share is None


def test_saved_points_are_read_back(run: RunWriter) -> None:
    found = read_counterexamples(run.folder / "counterexample_baseline.txt", [0, 2], (1, 1, 2))
    assert list(found) == [2] and torch.equal(found[2], point(0.50, 0.55))


def test_a_point_of_another_size_is_refused(run: RunWriter) -> None:
    with pytest.raises(FileFormatError, match="counterexample_baseline_2.txt: 2 values, images have shape"):
        read_counterexamples(run.folder / "counterexample_baseline.txt", [2], (1, 2, 2))


def test_the_section_tries_both_directions(run: RunWriter) -> None:
    section = transfer_section(open_run(run.folder))
    assert section.tables[0].rows == (
        ("baseline", "grafted", "1", "1", "1", "0", "0.0"),
        ("grafted", "baseline", "1", "1", "1", "1", "100.0"),
    )


def test_a_plain_network_in_another_folder_is_found(tmp_path: Path) -> None:
    from report_runs import finished_run

    run = finished_run(tmp_path / "row", tmp_path / "shared")
    run.record(baseline="../shared", ratio=0.5)
    assert transfer_section(open_run(run.folder)).tables[0].rows[1][-1] == "100.0"


def told(run: RunWriter, name: str, counterexamples: object) -> None:
    """Has the results of a network say where its counterexamples lie."""
    file = run.folder / f"verify_{name}.jsonl"
    head, rest = file.read_text().split("\n", 1)
    file.write_text(json.dumps({**json.loads(head), "counterexamples": counterexamples}) + "\n" + rest)


def test_counterexamples_lie_where_the_results_say(run: RunWriter) -> None:
    (run.folder / "mine").mkdir()
    (run.folder / "counterexample_grafted_2.txt").rename(run.folder / "mine" / "adv_2.txt")
    told(run, "grafted", "mine/adv.txt")
    assert transfer_section(open_run(run.folder)).tables[0].rows[1][-1] == "100.0"


def test_results_that_do_not_say_so_are_followed_by_the_settings(
    run: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.folder / "counterexample_grafted_2.txt").rename(run.folder.parent / "adv_grafted_2.txt")
    with open(run.folder / "tune.config.yaml", "a") as file:
        file.write("attack: {cex_path: adv.txt}\n")
    monkeypatch.chdir(run.folder.parent)
    assert transfer_section(open_run(run.folder)).tables[0].rows[1][-1] == "100.0"


def test_counterexamples_of_an_earlier_verification_are_not_taken(run: RunWriter) -> None:
    told(run, "grafted", None)
    section = transfer_section(open_run(run.folder))
    assert section.tables[0].rows == (
        ("baseline", "grafted", "1", "1", "1", "0", "0.0"),
        ("grafted", "baseline", "1", "0", "0", "0", "-"),
    )
    told(run, "baseline", None)
    assert "no counterexample was saved" in transfer_section(open_run(run.folder)).text[0]


def test_a_wrong_place_is_named(run: RunWriter) -> None:
    told(run, "grafted", 3)
    with pytest.raises(FileFormatError, match="verify_grafted.jsonl: counterexamples: 3 is no path"):
        transfer_section(open_run(run.folder))


def unsaved(run: RunWriter) -> None:
    for path in run.folder.glob("counterexample*"):
        path.unlink()


def without_checkpoint(run: RunWriter) -> None:
    (run.folder / "train.safetensors").unlink()


def without_settings(run: RunWriter) -> None:
    (run.folder / "tune.config.yaml").unlink()


def not_attacked(run: RunWriter) -> None:
    for name in ("baseline", "grafted"):
        (run.folder / f"verify_{name}.jsonl").unlink()
        run.verified(name, [result(0, Verdict.VERIFIED)])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (unsaved, "no counterexample was saved; run with general.save_adv_example"),
        (without_checkpoint, "the networks cannot be loaded (model.path: "),
        (without_settings, "tune.config.yaml, which says how to load the networks, is missing"),
        (not_attacked, "No correctly classified image was attacked with success."),
    ],
)
def test_what_cannot_be_computed_is_told(run: RunWriter, change, told: str) -> None:
    change(run)
    section = transfer_section(open_run(run.folder))
    assert told in section.text[0] and not section.tables


def test_a_checkpoint_of_other_weights_than_were_verified_is_refused(run: RunWriter) -> None:
    run.plain = loaded(plain_core(bias=3.0))
    run.saved_networks()
    with pytest.raises(FileFormatError, match="train.safetensors: of another network"):
        transfer_section(open_run(run.folder))


def test_a_damaged_counterexample_is_named(run: RunWriter) -> None:
    (run.folder / "counterexample_baseline_2.txt").write_text("((X_0 0.5)")
    with pytest.raises(FileFormatError, match="counterexample_baseline_2.txt: not a counterexample"):
        transfer_section(open_run(run.folder))
