from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from abcrown_graft.verify.counterexample import counterexample_path, counterexample_text, save_counterexample

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
