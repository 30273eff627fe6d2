"""TensorBoard: what is written, and what is said where the package is missing."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
from command_line import Listener, miniature

from abcrown_graft.assembly.scalars import scalar_log
from abcrown_graft.errors import ConfigError
from abcrown_graft.pipeline.training import train_stage
from abcrown_graft.training.loop import EpochRecord


def record(epoch: int, certified: float | None = None) -> EpochRecord:
    return EpochRecord(epoch, 0.5, 0.6, 0.7, 0.8, 0.01, 3.0, certified)


class Written(list):
    """Stands for TensorBoard's writer: remembers the calls."""

    def open(self, folder: str, purge_step: int) -> Written:
        self.append((folder, purge_step))
        return self

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.append((name, value, step))

    def flush(self) -> None:
        self.append("flush")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    calls, module = Written(), types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = calls.open
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return calls


def test_every_figure_is_written_once_per_epoch(written: Written, tmp_path: Path) -> None:
    log = scalar_log(tmp_path, "train")
    assert written == []
    log(record(3))
    log(record(4, certified=0.25))
    assert written[0] == (str(tmp_path), 3)
    assert ("train/loss", 0.5, 3) in written and ("train/lr", 0.01, 4) in written
    certified = [entry for entry in written if "certified" in entry[0]]
    assert certified == [("train/validation_certified_accuracy", 0.25, 4)]
    assert written[-1] == "flush"


def test_the_stage_writes_beside_the_checkpoint(written: Written, tmp_path: Path) -> None:
    quick = {"train__epochs": 2, "train__limit": 80, "train__validation": 40}
    path = train_stage(miniature(tmp_path, **quick, train__tensorboard=True), Listener())
    assert written[0] == (str(path.with_suffix(".tensorboard")), 1)
    assert [entry[2] for entry in written if entry[0] == "train/loss"] == [1, 2]


def test_a_missing_package_is_named_before_anything_is_learnt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"^train\.tensorboard: .* pip install tensorboard$"):
        train_stage(miniature(tmp_path, train__tensorboard=True), Listener())
    assert not (tmp_path / "out").exists()
