"""The command line of the VNN-LIB standard 2.0: what goes to stdout, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Finished, run_main
from torch import nn

from abcrown_graft import __version__
from abcrown_graft.cli.vnnlib_solver import CAPABILITIES, assignment_lines, main
from abcrown_graft.engines.native import query
from abcrown_graft.engines.native.query import Answer
from abcrown_graft.formats.onnx.export import export_onnx
from abcrown_graft.formats.vnnlib.interface import Interface, TensorDeclaration
from abcrown_graft.network.trace import from_module
from abcrown_graft.verdict import Verdict

HEAD = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0.0))(assert (<= X_0 1.0))"
INTERFACE = Interface(
    "2.0", "f", TensorDeclaration("picture", "real", (1, 2)), TensorDeclaration("score", "float32", (1,))
)


@pytest.fixture
def negated(tmp_path: Path) -> Path:
    """The network y = -relu(x), and queries `unsat.vnnlib` and `sat.vnnlib` beside it."""
    first, last = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        first.weight.fill_(1.0), first.bias.zero_(), last.weight.fill_(-1.0), last.bias.zero_()
    export_onnx(from_module(nn.Sequential(first, nn.ReLU(), last), (1,)), tmp_path / "n.onnx")
    (tmp_path / "unsat.vnnlib").write_text(HEAD + "(assert (>= Y_0 0.01))")
    (tmp_path / "sat.vnnlib").write_text(HEAD + "(assert (<= Y_0 -0.25))")
    return tmp_path / "n.onnx"


def answering(answer: Answer, monkeypatch: pytest.MonkeyPatch, *words: str) -> Finished:
    """The command where the solver gives an answer."""
    monkeypatch.setattr(query, "verify_query", lambda *arguments, **named: answer)
    return run_main(main, "verify", "q.vnnlib", "--network", "f=n.onnx", *words)


def test_why_every_network_has_a_property_goes_to_stderr(negated: Path) -> None:
    file = negated.with_name("empty.vnnlib")
    file.write_text(HEAD + "\n(assert (>= X_0 2.0))\n(assert (>= Y_0 0.0))")
    words = ("verify", str(file), "--network", f"f={negated}")
    program = "import sys; from abcrown_graft.cli.vnnlib_solver import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    why = "lines 1 and 2 contradict each other: there is no counterexample, and every network has the property (unsat)"
    assert (done.returncode, done.stdout) == (0, "unsat\n")
    assert done.stderr.splitlines()[0] == f"{file}:2: {why}"


@pytest.mark.parametrize(
    ("verdict", "code", "word"),
    [
        (Verdict.VERIFIED, 0, "unsat\n"),
        (Verdict.TIMEOUT, 0, "timed-out\n"),
        (Verdict.UNKNOWN, 0, "unknown\n"),
        (Verdict.OUT_OF_MEMORY, 0, "unknown\n"),
        (Verdict.ERROR, 1, ""),
    ],
)
def test_the_verdict_stands_alone_on_stdout(
    verdict: Verdict, code: int, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = answering(Answer(verdict, INTERFACE, reason="so it goes"), monkeypatch)
    assert (found.code, found.out) == (code, word)
    assert found.err.startswith(f"abcrown-graft {__version__}: {verdict} (so it goes) in ")


def test_every_verdict_has_a_word() -> None:
    """A counterexample is `sat`; nothing but a proof is `unsat`."""
    words = {v: next(iter(answer_lines(v))) for v in Verdict if v is not Verdict.ERROR}
    assert words[Verdict.FALSIFIED] == "sat"
    assert [verdict for verdict, word in words.items() if word == "unsat"] == [Verdict.VERIFIED]


def answer_lines(verdict: Verdict) -> list[str]:
    """What is printed of an answer with that verdict."""
    with pytest.MonkeyPatch.context() as patch:
        return answering(Answer(verdict, INTERFACE), patch).out.splitlines()


def test_a_counterexample_follows_as_the_standard_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([0.5, 0.1], dtype=np.float32), np.array([-1e-7], dtype=np.float32)
    answer = Answer(Verdict.FALSIFIED, INTERFACE, *values)
    lines = answering(answer, monkeypatch).out.splitlines()
    assert lines[:3] == ["sat", "picture real [1,2]", "0.5"]
    assert lines[4] == "score float32 [1]"
    assert np.float32(lines[3]) == np.float32(0.1) and np.float32(lines[5]) == np.float32(-1e-7)
    assert list(assignment_lines(Answer(Verdict.VERIFIED, INTERFACE))) == []


@pytest.mark.parametrize("expected", ("sat", "unsat"))
def test_a_query_is_decided(negated: Path, expected: str) -> None:
    words = ("verify", negated.with_name(f"{expected}.vnnlib"), "--network", f"f={negated}", "--timeout", "60")
    found = run_main(main, *words)
    assert (found.code, found.out.splitlines()[0]) == (0, expected)
    assert found.err.count("\n") == 1


def test_what_libraries_print_goes_to_stderr(negated: Path, tmp_path: Path) -> None:
    """Also what is written to the file descriptor, past Python."""
    program = (
        "import os, sys\n"
        "from abcrown_graft.cli import vnnlib_solver\n"
        "from abcrown_graft.engines.native import query\n"
        "right = query.verify_query\n"
        "def loud(*arguments, **named):\n"
        "    os.write(1, b'licence of a solver\\n')\n"
        "    print('progress')\n"
        "    return right(*arguments, **named)\n"
        "query.verify_query = loud\n"
        "sys.exit(vnnlib_solver.main())\n"
    )
    words = ["verify", str(negated.with_name("unsat.vnnlib")), "--network", f"f={negated}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, env=environment)
    assert (found.returncode, found.stdout) == (0, "unsat\n")
    assert "licence of a solver" in found.stderr and "progress" in found.stderr


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ("onnx-opset-versions", "7\n28\n"),
        ("onnx-element-types", "real\n"),
        ("hidden-node-theories", "NH\n"),
        ("multiple-input-output-theories", "SIO\n"),
        ("multiple-network-theories", "SNET\n"),
        ("multiple-node-comparison-theories", "SNC\n"),
        ("arithmetic-complexity-theories", "BND\nOUTC\n"),
        ("optimised-disjunctive-reasoning", "false\n"),
        ("serialise-assignments", "false\n"),
    ],
)
def test_capabilities(capability: str, expected: str) -> None:
    found = run_main(main, "supports", f"--{capability}")
    assert (found.code, found.out, found.err) == (0, expected, "")


def test_operators_are_those_that_are_read() -> None:
    found = run_main(main, "supports", "--onnx-operators").out.split()
    assert {"Conv", "Gemm", "Relu", "Add", "Mul"} <= set(found) and found == sorted(found)


@pytest.mark.parametrize(("installed", "expected"), [(object(), "1.0\n2.0\n"), (None, "1.0\n1.0\n")])
def test_version_2_needs_a_package(installed: object, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abcrown_graft.cli.vnnlib_solver.find_spec", lambda name: installed)
    assert run_main(main, "supports", "--vnnlib-versions").out == expected


@pytest.mark.parametrize(("flag", "expected"), [("--name", "abcrown-graft\n"), ("--version", f"{__version__}\n")])
def test_name_and_version(flag: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([flag])
    assert (exit.value.code, capsys.readouterr().out) == (0, expected)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "no command given; choose verify or supports"),
        ("decide q", "invalid choice: 'decide'"),
        ("supports", "no capability given; choose one of --onnx-opset-versions"),
        ("supports --onnx-operator", "unknown flag --onnx-operator; did you mean --onnx-operators?"),
        ("supports --onnx-operators --vnnlib-versions", "not allowed with"),
        ("verify", "the following arguments are required: QUERY"),
        ("verify q.vnnlib", "0 networks are given, expected one: --network NAME=FILE"),
        ("verify q.vnnlib --network f=a.onnx --network g=b.onnx", "2 networks are given, expected one"),
        ("verify q.vnnlib --network a.onnx", "flag --network: 'a.onnx' is not NAME=FILE"),
        ("verify q.vnnlib --network f=a.onnx --timeout -3", "expected seconds above 0, got '-3'"),
        ("verify q.vnnlib --network f=a.onnx --timeout nan", "expected seconds above 0, got 'nan'"),
        ("verify q.vnnlib --network f=nowhere.onnx", "nowhere.onnx: no such file"),
    ],
)
def test_wrong_words_are_one_line_on_stderr(words: str, told: str) -> None:
    found = run_main(main, *words.split())
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("error: ") and found.err.count("\n") == 1
    assert told in found.err


def test_a_query_that_cannot_be_read_gives_no_verdict(negated: Path) -> None:
    broken = negated.with_name("broken.vnnlib")
    broken.write_text(HEAD + "(assert (>= Y_0 0.01)")
    found = run_main(main, "verify", broken, "--network", f"f={negated}")
    assert (found.code, found.out) == (2, "") and "broken.vnnlib" in found.err


def test_every_capability_of_the_standard_is_answered() -> None:
    assert len(CAPABILITIES) == 11
    assert all(capability() for capability in CAPABILITIES.values())
