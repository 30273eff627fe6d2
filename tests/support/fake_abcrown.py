"""Folders that look like α,β-CROWN and auto_LiRPA, and a process that reports what a test wants."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from abcrown_graft.engines.abcrown.job import FINDING_KIND, Job, Task, read_job
from abcrown_graft.engines.abcrown.locate import Installation, Part
from abcrown_graft.engines.abcrown.process import Ended, Report
from abcrown_graft.files import save_tensors

FOUND = Installation(Part(Path("verifier"), "0.7.0", "test"), Part(Path("lirpa"), "0.7.1", "test"))


def verifier_folder(folder: Path, version: str | None = "0.7.0") -> Path:
    """Makes `folder/complete_verifier` with the files that α,β-CROWN is known by; returns `folder`."""
    package = folder / "complete_verifier"
    package.mkdir(parents=True)
    for name in ("abcrown.py", "arguments.py", "beta_CROWN_solver.py"):
        (package / name).write_text("raise SystemExit('imported')\n")
    text = "raise SystemExit('imported')\n" + ("" if version is None else f"__version__ = '{version}'\n")
    (package / "__init__.py").write_text(text)
    return folder


def lirpa_folder(folder: Path, version: str | None = "0.7.1") -> Path:
    """Makes `folder/auto_LiRPA` with the file that auto_LiRPA is known by; returns `folder`."""
    package = folder / "auto_LiRPA"
    package.mkdir(parents=True)
    (package / "bound_general.py").write_text("raise SystemExit('imported')\n")
    text = "raise SystemExit('imported')\n" + ("" if version is None else f'__version__ = "{version}"\n')
    (package / "__init__.py").write_text(text)
    return folder


def safe(lower: float | None = 0.5, status: str = "safe-incomplete") -> dict[str, Any]:
    """A report on a verified image."""
    return {"status": status, "seconds": 1.0, "lower": lower, "timeout": 360.0}


def unsafe(status: str = "unsafe-pgd") -> dict[str, Any]:
    """A report on a falsified image."""
    return {"status": status, "seconds": 1.0, "lower": None, "timeout": 360.0}


Answer = Callable[[Job, Task], "Report | Ended"]
"""What the process makes of a task: the report on it, or the end of the process."""


class FakeProcess:
    """In the place of `process.follow`: no process, but its reports.

    Attributes:
        jobs: the tasks' images of each process that was started.
    """

    def __init__(self, answer: Answer, end: Ended | None = None, ready: bool = True) -> None:
        """Answers each task by `answer`; `end` is how the process ends if no answer ends it."""
        self.jobs: list[list[int]] = []
        self._answer, self._end, self._ready = answer, end or Ended(0, "done"), ready

    def __call__(
        self, command: Sequence[str], reports: Path, log: Path, patience: float | None = None
    ) -> Iterator[Report | Ended]:
        job = read_job(Path(command[-1]))
        self.jobs.append([task.index for task in job.tasks])
        if self._ready:
            yield {"ready": True}
            for task in job.tasks:
                yield {"begun": task.index}
                answer = self._answer(job, task)
                if isinstance(answer, Ended) or "failed" in answer:
                    yield answer
                    return
                yield {"index": task.index, **answer}
        yield self._end


def leave(job: Job, task: Task, tensors: Mapping[str, Tensor]) -> None:
    """Leaves tensors with the report on a task, as the process does."""
    save_tensors(job.finding(task.index), FINDING_KIND, tensors, {})


def told(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
