"""`abcrown`: what it prints, its exit codes, precedence, and the effective configuration."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Finished, run_main
from decisions import with_decisions, with_defect

from abcrown_graft import __version__
from abcrown_graft.cli.abcrown import build_parser, main
from abcrown_graft.config.load import load_config
from abcrown_graft.config.schema import SCHEMA

pytestmark = pytest.mark.usefixtures("one_thread")
FAST = ("--config", "digits_graft", "--end", "8", "--pgd_steps", "5", "--pgd_restarts", "2")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Finished, Path]]:
    """A run over eight images from an empty folder, with its instability."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield run_main(main, *FAST, "--batch_size", "4", "--instability_dump", "unstable.safetensors"), folder


def test_every_image_has_a_line_in_order(finished: tuple[Finished, Path]) -> None:
    lines = finished[0].out.splitlines()[:8]
    pattern = re.compile(r"idx: (\d), label: (\d), predicted: (\d), Result: (\S+) in \d+\.\d{4} seconds(, margin .*)?")
    matches = [pattern.fullmatch(line) for line in lines]
    assert [match and match[1] for match in matches] == list("01234567")
    assert {match[4] for match in matches} <= {"safe-incomplete", "safe", "unsafe-pgd", "unsafe-bab"}
    assert all(match[5] for match in matches if match[4] == "safe-incomplete")


def test_an_engine_needs_no_module_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "abcrown_graft.engines.abcrown.engine", None)
    assert run_main(main, *FAST, "--end", "1").code == 0


def test_the_summary_has_the_words_and_order_of_alpha_beta_crown(finished: tuple[Finished, Path]) -> None:
    text = finished[0].out
    heads = (
        "############# Summary #############",
        "Final verified acc: ",
        "Problem instances count: 8 , total verified (safe/unsat): ",
        "mean time for ALL instances (total 8):",
        "mean time for verified SAFE instances(total ",
        "safe-incomplete (total ",
        "UNR: ",
        "engine: native (",
        "results file: ",
    )
    places = [text.index(head) for head in heads]
    assert places == sorted(places)


def test_the_counts_are_those_of_the_results_file(finished: tuple[Finished, Path]) -> None:
    found, folder = finished
    records = [json.loads(line) for line in (folder / "out.txt").read_text().splitlines()]
    assert records[-1] == {"complete": True}
    statuses = [record["verdict"] for record in records[1:-1]]
    safe, unsafe = statuses.count("verified"), statuses.count("falsified")
    assert len(statuses) == 8 and safe
    assert f"Final verified acc: {100 * safe / 8}% (total 8 examples)" in found.out
    assert (
        f"total verified (safe/unsat): {safe} , total falsified (unsafe/sat): {unsafe} , timeout: {8 - safe - unsafe}\n"
        in found.out
    )
    for status in {record["status"] for record in records[1:-1]}:
        indices = [record["index"] for record in records[1:-1] if record["status"] == status]
        assert f"{status} (total {len(indices)}), index: {indices}\n" in found.out


def test_the_closing_lines_name_dump_engine_and_results_file(finished: tuple[Finished, Path]) -> None:
    found, folder = finished
    assert found.code == 0 and found.err == ""
    closing = found.out.splitlines()[-4:]
    assert re.fullmatch(r"UNR: \d+\.\d\d% of all neurons, \d+\.\d\d% of the ungrafted ones \(\d images\)", closing[0])
    assert closing[1] == f"instability dump: {folder / 'unstable.safetensors'}"
    assert closing[2] == f"engine: native (abcrown-graft {__version__}, cpu, float32, decided in float64)"
    assert closing[3] == f"results file: {folder / 'out.txt'}"


def test_nothing_is_written_besides_results_and_dump(finished: tuple[Finished, Path]) -> None:
    assert sorted(path.name for path in finished[1].iterdir()) == ["out.txt", "unstable.safetensors"]


def test_half_of_the_ungrafted_denominator_is_grafted(finished: tuple[Finished, Path]) -> None:
    every, ungrafted = map(float, re.search(r"UNR: (\S+)% of all neurons, (\S+)% of", finished[0].out).groups())
    assert 0 < every < ungrafted
    assert ungrafted == pytest.approx(2 * every, abs=0.02)


def test_double_precision_is_told_and_nothing_of_instability() -> None:
    found = run_main(main, *FAST, "--end", "1", "--complete_verifier", "skip", "--double_fp")
    assert found.code == 0
    assert "UNR" not in found.out
    assert "cpu, float64, decided in float64" in found.out


def test_a_second_run_keeps_the_results_of_the_first(here: Path) -> None:
    first = run_main(main, *FAST, "--end", "2")
    before = (here / "out.txt").read_bytes()
    second = run_main(main, *FAST, "--end", "2")
    assert (first.code, second.code) == (0, 0)
    assert second.out.startswith("earlier results kept as out.1.txt\n")
    assert (here / "out.1.txt").read_bytes() == before


def test_a_failed_instance_is_named_on_stderr_and_makes_the_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    with_decisions(monkeypatch, with_defect(1))
    found = run_main(main, *FAST, "--end", "3")
    assert found.code == 1
    assert found.err == "error: image 1: RuntimeError: a defect\n"
    assert "error (total 1), index: [1]" in found.out


def test_counterexamples_are_written_where_they_are_asked_for(here: Path) -> None:
    found = run_main(
        main,
        *("--config", "digits_baseline", "--end", "12", "--complete_verifier", "skip"),
        *("--pgd_steps", "10", "--pgd_restarts", "3", "--bound_prop_method", "crown"),
        *("--save_adv_example", "--cex_path", "cex/a.txt"),
    )
    unsafe = re.search(r"unsafe-pgd \(total \d+\), index: \[(.*)\]", found.out)
    assert unsafe, "the digits' baseline has counterexamples among the first twelve images"
    written = sorted(path.name for path in (here / "cex").iterdir())
    assert written == sorted(f"a_{index.strip()}.txt" for index in unsafe[1].split(","))


def test_flags_take_precedence_over_the_file(here: Path) -> None:
    (here / "a.yaml").write_text("data: {start: 3, end: 9}\nsolver: {batch_size: 7}\n")
    found = run_main(main, "--config", "a.yaml", "--start", "5", "--print_config")
    (here / "b.yaml").write_text(found.out)
    config = load_config(here / "b.yaml")
    assert (config["data.start"], config["data.end"], config["solver.batch_size"]) == (5, 9, 7)
    assert config["attack.pgd_steps"] == SCHEMA["attack.pgd_steps"].default


def test_the_printed_configuration_loads_back_to_the_same(here: Path) -> None:
    words = (
        "--config",
        "digits_graft",
        "--mean",
        "0.5",
        "--std",
        "0.25",
        "--select_instance",
        "3",
        "1",
        "--norm",
        "inf",
    )
    printed = run_main(main, *words, "--print_config")
    assert (printed.code, printed.err) == (0, "")
    (here / "b.yaml").write_text(printed.out)
    again = run_main(main, "--config", "b.yaml", "--print_config")
    assert again.out == printed.out
    config = load_config(here / "b.yaml")
    assert config["data.select_instance"] == (3, 1) and config["data.std"] == (0.25,)
    assert config["model.name"] == "digits_cnn"


def test_the_printed_configuration_means_the_same_in_another_folder(here: Path) -> None:
    (here / "b.yaml").write_text(run_main(main, *FAST, "--end", "1", "--print_config").out)
    found = run_main(main, "--config", "b.yaml")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("idx: 0, ")


def test_printing_the_configuration_writes_nothing_and_runs_nothing(here: Path) -> None:
    assert run_main(main, "--print_config").code == 0
    assert list(here.iterdir()) == []


def test_no_configuration_at_all_is_answered_with_one_to_try() -> None:
    found = run_main(main)
    assert found.code == 2
    assert found.err.startswith("error: no configuration") and "digits_graft.yaml" in found.err


def test_flags_alone_are_a_configuration(here: Path) -> None:
    weights = load_config(None).path("model.path")
    assert weights is None
    found = run_main(main, "--model", "digits_cnn", "--dataset", "DIGITS", "--epsilon", "0.01", "--device", "cpu")
    assert found.code == 2 and "model.path: not set, so digits_cnn would have random weights" in found.err


def test_the_parser_takes_alpha_beta_crowns_flags_and_no_stage_flags() -> None:
    known = build_parser().format_help()
    for flag in (
        "--config",
        "--start",
        "--end",
        "--device",
        "--batch_size",
        "--timeout",
        "--results_file",
        "--epsilon",
    ):
        assert f"{flag} " in known
    assert "--train_epochs" not in known
