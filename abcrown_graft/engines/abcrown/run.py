"""Lets α,β-CROWN do the tasks of a batch, in as many processes as it takes."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from abcrown_graft.config.config import Config
from abcrown_graft.engines.abcrown.job import FINDING_KIND, LAST, Job, Task, write_job
from abcrown_graft.engines.abcrown.locate import Installation
from abcrown_graft.engines.abcrown.process import Ended, Report, follow
from abcrown_graft.errors import EngineError, FileFormatError
from abcrown_graft.files import load_tensors
from abcrown_graft.verify.options import BabOptions

CHILD = (sys.executable, "-m", "abcrown_graft.engines.abcrown.child")


@dataclass(frozen=True, eq=False)
class Finding:
    """What is known of a task when it is done.

    Attributes:
        report: of the process, or an `error` made of how it ended.
        tensors: that came with it: `counterexample`, and `unstable/SITE` for each site.
    """

    task: Task
    report: Report
    tensors: Mapping[str, Tensor]


def do_tasks(
    config: Config,
    found: Installation,
    instances: Mapping[str, Tensor],
    tasks: Sequence[Task],
    log: Path,
    child: Sequence[str] = CHILD,
) -> Generator[Finding, None, None]:
    """Yields a finding for each task, in order.

    A process that fails, or ends before its tasks are done, leaves an `error` (`out_of_memory` if it was killed) for
    the one that it was at, and another process goes on with the rest. So does one that reports nothing for far too
    long, see `patience`.

    Args:
        config, found, instances, tasks: see `write_job`.
        log: file that α,β-CROWN's output is appended to.
        child: the command that does a job; the job's folder is added.

    Raises:
        EngineError: a process failed or ended before it was ready for the first task.
    """
    left = list(tasks)
    while left:
        with tempfile.TemporaryDirectory(prefix="abcrown_graft_") as folder:
            job = write_job(Path(folder), config, found, instances, left)
            with closing(_one_process(job, [*child, folder], log, patience(config))) as findings:
                for finding in findings:
                    left.pop(0)
                    yield finding


def patience(config: Config) -> float | None:
    """Seconds after which a process without a report hangs: ten times an instance's, and ten minutes to start in."""
    bab = config.settings(BabOptions)
    longest = max(bab.timeout, bab.override_timeout or 0.0)
    return 10 * longest + 600 if math.isfinite(longest) else None


def _one_process(job: Job, command: Sequence[str], log: Path, patience: float | None) -> Generator[Finding, None, None]:
    """The findings of one process; the last one is an error if it ended early."""
    ready, waiting, begun = False, list(job.tasks), time.perf_counter()
    with closing(follow(command, job.reports, log, patience)) as reports:
        for report in reports:
            ended = _ended(report, waiting)
            if ended is not None:
                if not ready:
                    raise EngineError(f"α,β-CROWN did not start: {ended.reason}; its output is in {log}")
                if waiting:
                    yield _cut_off(ended, waiting[0], time.perf_counter() - begun)
                return
            assert not isinstance(report, Ended)
            ready = ready or "ready" in report
            if "index" in report:
                yield _finding(job, waiting.pop(0), report)
            if LAST in report:
                return
            begun = time.perf_counter()


def _ended(report: Report | Ended, waiting: Sequence[Task]) -> Ended | None:
    """How a process ended, if that is what it reports, or if what it reports is wrong."""
    if isinstance(report, Ended):
        return report
    if "failed" in report:
        return Ended(None, str(report["failed"]))
    if "index" in report and (not waiting or report["index"] != waiting[0].index):
        return Ended(None, f"α,β-CROWN's process reported on image {report['index']} out of turn")
    return None


def _cut_off(ended: Ended, task: Task, seconds: float) -> Finding:
    """The finding on the task that a process was at, for so long, when it ended."""
    return Finding(task, {"error": ended.reason, "out_of_memory": ended.killed, "seconds": seconds}, {})


def _finding(job: Job, task: Task, report: Report) -> Finding:
    path = job.finding(task.index)
    try:
        tensors = load_tensors(path, FINDING_KIND)[0] if path.exists() else {}
    except FileFormatError as error:
        return Finding(task, {"error": str(error), "seconds": 0.0}, {})
    return Finding(task, report, tensors)
