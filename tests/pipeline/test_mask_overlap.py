"""Comparing mask files: ours and the published lists of tensors, of one model and of several."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from command_line import miniature, snapshot
from rich.console import Console

from abcrown_graft.assembly import inputs
from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError, FileFormatError, MaskError
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.pipeline.mask_overlap import compare_masks

MODEL = ModelIdentity("a", "w", {"x[1]": (4,), "y": (2,)})


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return miniature(tmp_path)


def write(path: Path, rows: list[list[int]], model: ModelIdentity = MODEL) -> Path:
    masks = {site: torch.tensor(row).bool() for site, row in zip(model.sites, rows, strict=True)}
    GraftMask(masks, model).save(path)
    return path


def printed(config: Config, *paths: Path) -> list[list[str]]:
    """The words of every line of figures."""
    out = io.StringIO()
    for files, table in compare_masks(config, paths):
        out.write(f"{files}\n")
        Console(file=out, width=200).print(table)
    lines = [line.replace("│", " ").split() for line in out.getvalue().splitlines()]
    return [words for words in lines if words and words[0] in (*MODEL.sites, "all", "first:")]


def test_a_pair_is_a_table_of_sites_and_the_whole(tmp_path: Path, config: Config) -> None:
    a = write(tmp_path / "a.st", [[1, 1, 0, 0], [0, 1]])
    b = write(tmp_path / "b.st", [[0, 1, 1, 0], [0, 1]])
    before = snapshot(tmp_path)
    assert printed(config, a, b) == [
        ["first:", f"{a},", "second:", str(b)],
        ["x[1]", "4", "2", "2", "1", "3", "0.3333"],
        ["y", "2", "1", "1", "1", "1", "1.0000"],
        ["all", "6", "3", "3", "2", "4", "0.5000"],
    ]
    assert snapshot(tmp_path) == before


def test_three_masks_are_three_pairs(tmp_path: Path, config: Config) -> None:
    a, b, c = (write(tmp_path / name, [[k == 0, k == 1, k == 2, 0], [1, 1]]) for k, name in enumerate("abc"))
    heads = [words for words in printed(config, a, b, c) if words[0] == "first:"]
    assert heads == [["first:", f"{x},", "second:", str(y)] for x, y in ((a, b), (a, c), (b, c))]


def test_masks_for_other_weights_are_compared(tmp_path: Path, config: Config) -> None:
    a = write(tmp_path / "a.st", [[1, 1, 0, 0], [0, 1]])
    b = write(tmp_path / "b.st", [[1, 1, 0, 0], [0, 1]], ModelIdentity("a", "other", MODEL.sites))
    assert printed(config, a, b)[-1] == ["all", "6", "3", "3", "3", "3", "1.0000"]


@pytest.mark.parametrize(
    "model", [ModelIdentity("b", "w", MODEL.sites), ModelIdentity("a", "w", {"x[1]": (4,), "z": (2,)})]
)
def test_masks_of_different_models_are_refused(tmp_path: Path, config: Config, model: ModelIdentity) -> None:
    a, b = (write(tmp_path / name, [[1, 1, 0, 0], [0, 1]]) for name in "ab")
    c = write(tmp_path / "c", [[1, 1, 0, 0], [0, 1]], model)
    with pytest.raises(MaskError, match=r"/c: a mask of another model than .*/a \(.*\); give masks of one model"):
        compare_masks(config, [a, b, c])


def test_a_published_list_is_of_the_named_model(tmp_path: Path, config: Config) -> None:
    identity = inputs.untrained_model(config).identity
    masks = {site: torch.rand(shape) < 0.5 for site, shape in identity.sites.items()}
    GraftMask(masks, identity).save(tmp_path / "ours.st")
    torch.save([mask.float() for mask in masks.values()], tmp_path / "theirs.pt")
    assert printed(config, tmp_path / "theirs.pt", tmp_path / "ours.st")[-1][-1] == "1.0000"
    with pytest.raises(ConfigError, match=r"model\.name: not set; .*theirs\.pt does not say which network it is of"):
        compare_masks(config.replace({"model.name": None}), [tmp_path / "ours.st", tmp_path / "theirs.pt"])
    with pytest.raises(MaskError, match=r"made for another model|the model has"):
        compare_masks(config.replace({"model.name": "cnn_a"}), [tmp_path / "theirs.pt", tmp_path / "theirs.pt"])


def test_two_files_are_needed_and_each_must_be_a_mask(tmp_path: Path, config: Config) -> None:
    a = write(tmp_path / "a.st", [[1, 1, 0, 0], [0, 1]])
    with pytest.raises(ConfigError, match="--compare: 1 mask given, it takes two or more files"):
        compare_masks(config, [a])
    with pytest.raises(FileFormatError, match="nowhere: no such file"):
        compare_masks(config, [a, tmp_path / "nowhere"])
