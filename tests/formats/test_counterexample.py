from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from abcrown_graft.errors import FileFormatError
from abcrown_graft.formats.counterexample import (
    counterexample_path,
    counterexample_text,
    parse_counterexample,
    read_counterexample,
    sat_text,
    save_counterexample,
)

LINE = re.compile(r"\(([XY])_(\d+)  (\S+?)\)")


def test_text_by_hand():
    point = torch.tensor([[[0.5, 0.0], [1.0, 0.25]]])
    text = counterexample_text(point, torch.tensor([1.5, -2.0]))
    assert text == "((X_0  0.5)\n(X_1  0)\n(X_2  1)\n(X_3  0.25)\n(Y_0  1.5)\n(Y_1  -2))\n"


def test_the_text_gives_the_very_float32_values_back():
    generator = torch.Generator().manual_seed(0)
    point = torch.rand(3, 20, 20, generator=generator)
    tiny = torch.tensor([1e-45, 1.1754944e-38, 0.1, 1 - 2**-24, 2**-24])
    point.flatten()[:5] = tiny
    output = torch.randn(10, generator=generator) * 1e6
    found = LINE.findall(counterexample_text(point, output))
    assert [name for name, _, _ in found] == ["X"] * 1200 + ["Y"] * 10
    assert [int(k) for _, k, _ in found] == [*range(1200), *range(10)]
    values = torch.tensor([float(value) for _, _, value in found], dtype=torch.float64).float()
    assert torch.equal(values[:1200], point.flatten())
    assert torch.equal(values[1200:], output)


@pytest.mark.parametrize(
    ("given", "path"),
    [("test_cex.txt", "test_cex_7.txt"), ("a/b.c.txt", "a/b.c_7.txt"), ("plain", "plain_7")],
)
def test_each_instance_has_its_file(given, path):
    assert counterexample_path(Path(given), 7) == Path(path)


def test_the_file_holds_the_text_and_its_folder_is_made(tmp_path):
    point, output = torch.rand(4), torch.rand(2)
    path = save_counterexample(tmp_path / "new" / "cex.txt", 12, point, output)
    assert path == tmp_path / "new" / "cex_12.txt"
    assert path.read_text() == counterexample_text(point, output)
    assert [file.name for file in path.parent.iterdir()] == ["cex_12.txt"]


def test_a_float64_comes_back_exactly():
    point = torch.tensor([0.1, 1 / 3, 5e-324], dtype=torch.float64)
    output = torch.tensor([-1e300], dtype=torch.float64)
    found = parse_counterexample(counterexample_text(point, output))
    assert torch.equal(found[0], point) and torch.equal(found[1], output)


@pytest.mark.parametrize("text", [counterexample_text, sat_text])
def test_what_is_written_is_read_back(tmp_path, text):
    point, output = torch.rand(3, 4, 4), torch.randn(10)
    (tmp_path / "cex.txt").write_text(text(point, output))
    found = read_counterexample(tmp_path / "cex.txt")
    assert torch.equal(found[0].float(), point.flatten()) and torch.equal(found[1].float(), output)


def test_the_competition_wants_the_verdict_first():
    assert sat_text(torch.tensor([0.5]), torch.tensor([2.0])) == "sat\n((X_0  0.5)\n(Y_0  2))\n"


def test_other_layouts_of_the_list_are_read():
    point, output = parse_counterexample("sat\n(\n(Y_0 -1e-3) (X_1 .5)\n\t(X_0 2)\n)")
    assert (point.tolist(), output.tolist()) == ([2.0, 0.5], [-0.001])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected one list of pairs"),
        ("unsat", "expected one list of pairs"),
        ("((X_0 1)(Y_0 1)) ((X_0 1)(Y_0 1))", "expected one list of pairs"),
        ("((X_0 1)\n(Y_0 1)", r"line 1: this '\(' is never closed"),
        ("()", "X_0 is missing"),
        ("((X_0 1))", "Y_0 is missing"),
        ("((X_0 1)(X_2 1)(Y_0 1))", "X_1 is missing"),
        ("((X_0 1)\n(X_0 1)(Y_0 1))", "line 2: X_0 stands twice"),
        ("((X_0 1)\n(X_1 nan)(Y_0 1))", "line 2: expected a pair of name and finite number"),
        ("((X_0 1)(X_1 1e999)(Y_0 1))", "expected a pair"),
        ("((X_0 1)(X_1)(Y_0 1))", "expected a pair"),
        ("((X_0 1)(X_1 1 2)(Y_0 1))", "expected a pair"),
        ("((X_0 1)(X_1 (1))(Y_0 1))", "expected a pair"),
        ("((X_0 1) X_1 (Y_0 1))", "expected a pair"),
        ("((X_0 1)(Z_1 1)(Y_0 1))", "expected a pair"),
    ],
)
def test_incomplete_lists_are_refused(tmp_path, text, message):
    path = tmp_path / "cex.txt"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=rf"cex\.txt: not a counterexample .*{message}"):
        read_counterexample(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileFormatError, match=r"none\.txt: not a counterexample"):
        read_counterexample(tmp_path / "none.txt")
