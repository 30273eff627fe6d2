"""The figures of every epoch for TensorBoard, which is an optional package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from abcrown_graft.errors import ConfigError
from abcrown_graft.training.loop import EpochRecord


def scalar_log(folder: Path, section: str) -> Callable[[EpochRecord], None]:
    """What writes an epoch's record to TensorBoard files in `folder`, as `<section>/<figure>` over epochs.

    The files are opened with the first record. What an interrupted run wrote of that epoch and later is superseded.

    Raises:
        ConfigError: the package `tensorboard` is not installed.
    """
    writer = summary_writer()
    opened: list[Any] = []

    def write(record: EpochRecord) -> None:
        if not opened:
            opened.append(writer(str(folder), purge_step=record.epoch))
        for name, value in vars(record).items():
            if name != "epoch" and value is not None:
                opened[0].add_scalar(f"{section}/{name}", value, record.epoch)
        opened[0].flush()

    return write


def summary_writer() -> Callable[..., Any]:
    """TensorBoard's writer.

    Raises:
        ConfigError: the package `tensorboard` is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("train.tensorboard: needs the package tensorboard; pip install tensorboard") from None
    return SummaryWriter
