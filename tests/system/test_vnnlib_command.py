"""`abcrown` with ONNX and VNN-LIB files: output, files, exit codes, and every wrong input in one line."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run_main, snapshot
from onnx_models import model_of, node, saved
from vnnlib_files import FAILS, HOLDS, benchmark, property_text

from abcrown_graft.cli.abcrown import main
from abcrown_graft.cli.tools import main as tools_main
from abcrown_graft.formats.onnx import model_file
from abcrown_graft.formats.results import read_results

pytestmark = pytest.mark.usefixtures("one_thread")

DEVICE = ("--device", "cpu", "--pgd_restarts", "2", "--pgd_steps", "10")
NETWORK = ("--onnx_path", "onnx/norms.onnx")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder that is a benchmark of three instances."""
    folder = benchmark(
        tmp_path, holds=property_text(HOLDS), fails=property_text(FAILS), again=property_text("(assert (<= Y_0 -1))")
    )
    monkeypatch.chdir(folder)
    return folder


def single(name: str) -> tuple[str, ...]:
    return (*DEVICE, *NETWORK, "--vnnlib_path", f"vnnlib/{name}.vnnlib")


def test_a_single_instance_in_the_words_of_the_competition(here: Path) -> None:
    found = run_main(main, *single("holds"), "--results_file", "r.txt")
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    assert re.fullmatch(r"idx: 0, Result: safe-incomplete in \d+\.\d{4} seconds, margin at least 0\.\d+", lines[0])
    assert lines[1] == "Result: unsat" and re.fullmatch(r"Time: \d+\.\d+", lines[2])
    assert lines[3].startswith("engine: native (") and lines[4] == f"results file: {here / 'r.txt'}"
    assert (here / "r.txt").read_text() == "unsat\n"


def test_a_counterexample(here: Path) -> None:
    found = run_main(main, *single("fails"), "--save_adv_example", "--results_file", "r.txt", "--cex_path", "c.txt")
    assert found.code == 0 and "Result: sat" in found.out
    assert (here / "r.txt").read_text() == "sat\n" + (here / "c.txt").read_text()
    assert (here / "r.txt").read_text().startswith("sat\n((X_0  ")


def test_a_list_has_a_summary_and_a_results_file_of_json_lines(here: Path) -> None:
    found = run_main(main, *DEVICE, "--csv_name", "instances.csv")
    assert (found.code, found.err) == (0, "")
    assert [line.split(" in ")[0] for line in found.out.splitlines()[:3]] == [
        "idx: 0, Result: safe-incomplete",
        "idx: 1, Result: unsafe-pgd",
        "idx: 2, Result: safe-incomplete",
    ]
    assert (
        "Problem instances count: 3 , total verified (safe/unsat): 2 , total falsified (unsafe/sat): 1 ," in found.out
    )
    assert "safe-incomplete (total 2), index: [0, 2]" in found.out
    records = [json.loads(line) for line in (here / "out.txt").read_text().splitlines()]
    assert [record["verdict"] for record in records[1:4]] == ["verified", "falsified", "verified"]
    assert records[0]["run"]["instances"][1][2] == "vnnlib/fails.vnnlib" and records[4] == {"complete": True}


def test_an_interrupted_list_goes_on_and_part_of_it_can_be_chosen(here: Path) -> None:
    run_main(main, *DEVICE, "--csv_name", "instances.csv")
    lines = (here / "out.txt").read_text().splitlines(keepends=True)
    (here / "out.txt").write_text("".join(lines[:3]))
    found = run_main(main, *DEVICE, "--csv_name", "instances.csv")
    assert found.out.startswith("resuming: 2 of 3 instances are done\nidx: 2, ")
    found = run_main(main, *DEVICE, "--csv_name", "instances.csv", "--start", "1", "--end", "2")
    assert "(total 1), index: [1]" in found.out


def test_yaml_keys_do_the_same(here: Path) -> None:
    folder = here / "configs"
    folder.mkdir()
    (folder / "a.yaml").write_text(
        "general: {device: cpu, root_path: $CONFIG_PATH/.., csv_name: instances.csv}\ndata: {end: 1}\n"
    )
    found = run_main(main, "--config", "configs/a.yaml")
    assert found.code == 0 and "safe-incomplete (total 1), index: [0]" in found.out
    (folder / "b.yaml").write_text(
        "general: {device: cpu}\nmodel: {onnx_path: ../onnx/norms.onnx}\n"
        "specification: {vnnlib_path: ../vnnlib/holds.vnnlib}\n"
    )
    assert "Result: unsat" in run_main(main, "--config", "configs/b.yaml", "--results_file", "r.txt").out


def test_one_bad_row_makes_the_exit_code_1_and_is_named(here: Path) -> None:
    saved(model_of(node("Sigmoid", "x"), shape=(1, 2), output=(1, 2)), here / "onnx", "sigmoid.onnx")
    with (here / "instances.csv").open("a") as file:
        file.write("onnx/sigmoid.onnx,vnnlib/holds.vnnlib,5\nonnx/norms.onnx,vnnlib/none.vnnlib,5\n")
    found = run_main(main, *DEVICE, "--csv_name", "instances.csv")
    assert found.code == 1
    first, second = found.err.splitlines()
    assert first.startswith("error: instance 3: onnx/sigmoid.onnx: Sigmoid") and "not supported" in first
    assert second == "error: instance 4: vnnlib/none.vnnlib: no such file"
    assert "error (total 2), index: [3, 4]" in found.out and "total verified (safe/unsat): 2 ," in found.out


LIST = (*DEVICE, "--csv_name", "instances.csv")
Prepare = Callable[[Path], object]


def lines(text: str) -> Prepare:
    return lambda folder: (folder / "instances.csv").write_text(text)


def cut(name: str) -> Prepare:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-30])


def nothing(folder: Path) -> None:
    """The files are fine."""


WRONG = {
    "no network": (nothing, (*DEVICE, "--vnnlib_path", "vnnlib/holds.vnnlib"), "model.onnx_path: not set"),
    "no property": (nothing, (*DEVICE, *NETWORK), "model.onnx_path: nothing says what is to be proved"),
    "no list": (nothing, (*DEVICE, "--csv_name", "no.csv"), "no.csv: no such file"),
    "a network for a list of networks": (nothing, (*LIST, *NETWORK), "model.onnx_path: the lines of instances.csv"),
    "no network for a list of properties": (lines("vnnlib/holds.vnnlib\n"), LIST, "instances.csv names none"),
    "an empty list": (lines("\n"), LIST, "instances.csv: no instances"),
    "two columns": (lines("onnx/norms.onnx,vnnlib/holds.vnnlib\n"), LIST, "instances.csv:1: 2 columns"),
    "no time": (lines("onnx/norms.onnx,vnnlib/holds.vnnlib,0\n"), LIST, "instances.csv:1: the timeout '0'"),
    "a binary list": (lambda folder: (folder / "instances.csv").write_bytes(b"\xff\xfe"), LIST, "not a text file"),
    "an endless list": (nothing, (*DEVICE, "--csv_name", "/dev/zero"), "/dev/zero: cannot be read (this is a device"),
    "past the end": (nothing, (*LIST, "--start", "7"), "leave no instance; the list has 3"),
    "two networks": (nothing, (*single("holds"), "--model", "cnn_a"), "model.name: the network is the ONNX file"),
    "a radius": (nothing, (*single("holds"), "--epsilon", "0.1"), "specification.epsilon: has no meaning"),
    "a mask": (nothing, (*single("holds"), "--graft_mask", "m.st"), "graft.mask: the network is the ONNX file"),
    "a dump": (nothing, (*single("holds"), "--instability_dump", "d.st"), "instability.dump: has no meaning"),
    "somebody's results": (nothing, (*single("holds"), "--results_file", "instances.csv"), "instances.csv"),
    "a folder as results": (nothing, (*single("holds"), "--results_file", "onnx"), "onnx: cannot be written"),
    "no device": (nothing, ("--device", "meta", *single("holds")[2:]), "general.device"),
}  # fmt: skip
WRONG_FILES = {
    "missing network": (lambda f: (f / "onnx/norms.onnx").unlink(), "onnx/norms.onnx: no such file"),
    "truncated network": (cut("onnx/norms.onnx"), "onnx/norms.onnx: "),
    "a network that decompresses to too much": (
        lambda f: (f / "onnx/norms.onnx").write_bytes(gzip.compress(bytes(2**21))),
        "onnx/norms.onnx: decompresses to more than 1 MiB",
    ),
    "missing property": (lambda f: (f / "vnnlib/holds.vnnlib").unlink(), "vnnlib/holds.vnnlib: no such file"),
    "truncated property": (cut("vnnlib/holds.vnnlib"), "vnnlib/holds.vnnlib: "),
    "property of another network": (
        lambda f: (f / "vnnlib/holds.vnnlib").write_text(property_text(HOLDS).replace("(declare-const X_1 Real)", "")),
        "vnnlib/holds.vnnlib: ",
    ),
    "unsupported operator": (
        lambda f: saved(model_of(node("Sigmoid", "x"), shape=(1, 2), output=(1, 2)), f / "onnx", "norms.onnx"),
        "onnx/norms.onnx: Sigmoid ... not supported",
    ),
    "another number of outputs": (
        lambda f: saved(model_of(node("Relu", "x"), shape=(1, 3), output=(1, 3)), f / "onnx", "norms.onnx"),
        "2 elements of X are declared, the network has 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_words_are_refused_and_nothing_is_written(here: Path, case: str) -> None:
    prepare, words, told = WRONG[case]
    prepare(here)
    before = snapshot(here)
    found = run_main(main, *words)
    assert found.code == 2 and found.err.startswith("error: ") and found.err.count("\n") == 1, found
    assert told in found.err and "Traceback" not in found.err
    assert snapshot(here) == before


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_single_instance_of_wrong_files_is_refused_and_its_result_is_error(
    here: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "LIMIT", model_file.LIMIT._replace(size=2**20))
    prepare, told = WRONG_FILES[case]
    (here / "r.txt").write_text("unsat\n")
    prepare(here)
    before = snapshot(here)
    found = run_main(main, *single("holds"), "--results_file", "r.txt")
    assert found.code == 2 and found.err.startswith("error: ") and found.err.count("\n") == 1, found
    assert all(part in found.err for part in told.split(" ... ")) and "Result" not in found.out
    assert snapshot(here) == {**before, "r.txt": b"error\n"}


COMMON = ("--device", "cpu", "--dataset", "DIGITS", "--epsilon", "0.1", "--pipeline_output", "new")


@pytest.mark.parametrize("stage", ["train", "instability", "evaluate", "significance"])
def test_stages_want_a_module(here: Path, stage: str) -> None:
    found = run_main(tools_main, stage, *COMMON, *NETWORK)
    assert found.code == 2 and found.err.count("\n") == 1
    assert "model.onnx_path: only verification takes an ONNX file" in found.err


def test_stages_want_images(here: Path) -> None:
    found = run_main(tools_main, "train", *COMMON, "--model", "digits_cnn", "--vnnlib_path", "vnnlib/holds.vnnlib")
    assert found.code == 2 and "specification.vnnlib_path: this command works on images" in found.err


def test_a_property_that_every_network_has_is_told(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (here / "vnnlib/holds.vnnlib").open("a") as file:
        file.write("(assert (>= Y_0 1))\n(assert (<= Y_0 0))\n")
    found = run_main(main, *single("holds"), "--results_file", "r.txt")
    assert (found.code, (here / "r.txt").read_text()) == (0, "unsat\n")
    (warning,) = caplog.messages
    assert re.match(r"vnnlib/holds\.vnnlib:\d+: lines \d+ and \d+ contradict each other: .*\(unsat\)$", warning)
    found = run_main(main, *LIST, "--results_file", "list.txt")
    (told,) = [result.reason for result in read_results(here / "list.txt")[1] if result.reason is not None]
    assert found.code == 0 and told == warning


def test_files_in_a_list_that_are_none_are_not_waited_for(here: Path) -> None:
    os.mkfifo(here / "pipe")
    (here / "instances.csv").write_text("onnx/norms.onnx,/dev/zero,5\n/dev/zero,vnnlib/holds.vnnlib,5\npipe,pipe,5\n")
    found = run_main(main, *LIST)
    assert found.code == 1
    assert [line.partition(":")[2].partition(" (")[0] for line in found.err.splitlines()] == [
        " instance 0: /dev/zero: no such file",
        " instance 1: /dev/zero: cannot be read",
        " instance 2: pipe: cannot be read",
    ]
