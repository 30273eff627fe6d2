"""`abcrown-graft mask`: one mask, a sweep, or a comparison of masks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import Finished, run_main, snapshot

from abcrown_graft.cli.tools import main
from abcrown_graft.masks import dump as dumps
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.masks.mask import GraftMask

MODEL = ModelIdentity("a", "w", {"1": (4,)})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the dump of four neurons, unstable on 3, 2, 1 and 0 of three images."""
    monkeypatch.chdir(tmp_path)
    unstable = {"1": torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()}
    dumps.add(dumps.empty(MODEL, {}, {}), [0, 1, 2], unstable).save("d.st")
    return tmp_path


def mask(*words: str) -> Finished:
    return run_main(main, "mask", *words)


def make(*words: str) -> Finished:
    return mask("--instability_dump", "d.st", "--mask_preset", "unstable", "--mask_path", "deep/m.safetensors", *words)


def grafted(path: str) -> list[int]:
    return GraftMask.load(path).masks["1"].int().tolist()


def test_a_sweep_writes_one_file_for_each_ratio(here: Path) -> None:
    found = make("--sweep", "0.25", "0.5", "0.75")
    assert found.code == 0, found.err
    told = [line for line in found.out.splitlines() if line.startswith("mask: ")]
    assert told == [f"mask: {here}/deep/m_{percent}.safetensors" for percent in (25, 50, 75)]
    assert [grafted(f"deep/m_{percent}.safetensors") for percent in (25, 50, 75)] == [
        *([1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0])
    ]
    assert not (here / "deep" / "m.safetensors").exists()


def test_masks_are_compared_and_nothing_is_written(here: Path) -> None:
    make("--sweep", "0.25", "0.5")
    before = snapshot(here)
    found = mask("--compare", "deep/m_25.safetensors", "deep/m_50.safetensors")
    assert found.code == 0, found.err
    assert "first: deep/m_25.safetensors, second: deep/m_50.safetensors" in found.out
    assert any("all" in line and "0.5000" in line for line in found.out.splitlines())
    assert snapshot(here) == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--compare", "a", "b"), "a: no such file"),
        (("--compare", "d.st"), "--compare: 1 mask given"),
        (("--compare", "d.st", "d.st"), "d.st: this is a 'instability' file, expected 'mask'"),
        (("--compare", "a", "b", "--sweep", "0.5"), "flags --compare and --sweep"),
        (("--sweep", "1.5"), "expected a list of numbers"),
        (("--sweep", "0.5", "0.50"), "would both go into"),
    ],
)
def test_what_cannot_be_done_is_one_line(here: Path, words: tuple[str, ...], told: str) -> None:
    found = make(*words)
    assert (found.code, found.out) == (2, "")
    assert told in found.err and found.err.count("\n") == 1
    assert not (here / "deep").exists()
