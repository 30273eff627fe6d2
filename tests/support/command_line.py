"""The commands in process, and a pipeline on a few digits that is over in seconds."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config

MINIATURE = """
general: {device: cpu, seed: 3, complete_verifier: skip}
model: {name: digits_cnn}
data: {dataset: DIGITS, start: 0, end: 12}
specification: {norm: .inf, epsilon: 0.05}
attack: {pgd_steps: 5, pgd_restarts: 2}
solver: {batch_size: 6, bound_prop_method: crown}
train: {epochs: 4, batch_size: 20, lr: 0.1, validation: 60, limit: 400, gradalign: 0}
instability: {method: crown, end: 20}
significance: {samples: 50}
mask: {preset: paper, stages: 10, ratio: 0.5}
tune: {epochs: 2, batch_size: 40, lr: 0.01, gradalign: 0}
evaluate: {limit: 50, pgd_steps: 3}
"""


@dataclass(frozen=True)
class Finished:
    """What a command returned and printed."""

    code: int
    out: str
    err: str


def run_main(main: Callable[[Sequence[str]], int], *words: str | Path) -> Finished:
    """Runs a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in words])
    return Finished(code, out.getvalue(), err.getvalue())


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def miniature(folder: Path, **changed: object) -> Config:
    """The configuration `MINIATURE` writing to `folder/out`; changes as `section__key=value`."""
    file = folder / "miniature.yaml"
    file.write_text(MINIATURE, encoding="utf-8")
    values = {key.replace("__", "."): value for key, value in changed.items()}
    return load_config(file, {"pipeline.output": str(folder / "out"), **values})


@dataclass
class Listener:
    """A reporter, and a bar, that remembers what it is told."""

    lines: list[str] = field(default_factory=list)
    steps: float = 0

    def say(self, line: str) -> None:
        self.lines.append(line)

    def print(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, steps: float = 1) -> None:
        self.steps += steps

    @contextmanager
    def bar(self, description: str, total: float) -> Iterator[Listener]:
        yield self
