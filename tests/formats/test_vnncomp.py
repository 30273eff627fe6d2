"""The results file of a single instance: never an old verdict, never somebody else's file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abcrown_graft.errors import FileFormatError
from abcrown_graft.formats.counterexample import read_counterexample
from abcrown_graft.formats.results import ResultsFile
from abcrown_graft.formats.vnncomp import WORDS, VnncompFile
from abcrown_graft.verdict import InstanceResult, Verdict


def result(verdict: Verdict) -> InstanceResult:
    return InstanceResult(0, -1, -1, verdict, str(verdict), 1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "out.txt"


@pytest.mark.parametrize(("verdict", "word"), WORDS.items())
def test_each_verdict_has_a_word_of_its_own(path: Path, verdict: Verdict, word: str) -> None:
    file = VnncompFile(path)
    with file.in_use():
        assert not path.exists()
        file.append(result(verdict))
        file.complete()
    assert path.read_text() == f"{word}\n"
    assert len(set(WORDS.values())) == len(Verdict)


def test_the_counterexample_follows_sat(path: Path) -> None:
    file = VnncompFile(path)
    point, output = torch.tensor([[0.1, 2.0]]), torch.tensor([3.0])
    file.save_counterexample(path.with_name("cex.txt"), 0, point, output)
    file.append(result(Verdict.FALSIFIED))
    assert path.read_text() == "sat\n((X_0  0.100000001)\n(X_1  2)\n(Y_0  3))\n"
    inputs, outputs = read_counterexample(path)
    assert torch.equal(inputs.float(), point[0]) and torch.equal(outputs.float(), output)


def test_no_counterexample_follows_another_verdict(path: Path) -> None:
    file = VnncompFile(path)
    file.save_counterexample(path.with_name("cex.txt"), 0, torch.zeros(1), torch.zeros(1))
    file.append(result(Verdict.UNKNOWN))
    assert path.read_text() == "unknown\n"


@pytest.mark.parametrize("old", ["", "unsat", "unsat\n", "timeout\n", "sat\n((X_0  1)\n(Y_0  2))\n"])
def test_an_old_verdict_is_gone_once_the_run_begins_and_an_error_is_told(path: Path, old: str) -> None:
    path.parent.mkdir()
    path.write_text(old)
    file = VnncompFile(path)
    assert path.read_text() == old and file.kept is None
    with pytest.raises(RuntimeError), file.in_use():
        assert not path.exists()
        raise RuntimeError
    assert path.read_text() == "error\n"


def test_an_interrupted_run_leaves_no_verdict(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("unsat\n")
    with pytest.raises(KeyboardInterrupt), VnncompFile(path).in_use():
        raise KeyboardInterrupt
    assert not path.exists()


def test_a_results_file_of_a_list_is_kept_aside(path: Path) -> None:
    ResultsFile(path, {"a": 1})
    before = path.read_bytes()
    file = VnncompFile(path)
    assert file.kept == path.with_name("out.1.txt") and file.kept.read_bytes() == before


@pytest.mark.parametrize("content", ["my notes\n", "\nunsat\n", "unsat\nmore\n", "error: of mine", "\xff", "satisfied"])
def test_a_file_of_somebody_else_is_left_alone(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"out\.txt"):
        VnncompFile(path)
    assert path.read_bytes() == content.encode("latin-1")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no regular file"):
        VnncompFile(tmp_path)
