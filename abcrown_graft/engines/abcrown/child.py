"""`python -m abcrown_graft.engines.abcrown.child FOLDER`: runs α,β-CROWN on a job, in a process of its own.

Every line that it appends to the job's reports is on the disk before it goes on: `ready`, then for each task `begun`
and what was found, or the `error` that it died of; `failed` if it could not start or go on. A report with `last` is
followed by no other.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from abcrown_graft.engines.abcrown.failure import one_line
from abcrown_graft.engines.abcrown.job import LAST, Job, read_job
from abcrown_graft.files import append_record


def main(folder: str) -> int:
    """Does the job in `folder`; returns the exit code."""
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    job = read_job(Path(folder))
    try:
        for report in _reports(job):
            append_record(job.reports, report)
            if report.get(LAST):
                return 1
    except Exception as error:
        traceback.print_exc()
        append_record(job.reports, {"failed": one_line(error)})
        return 1
    return 0


def _reports(job: Job) -> Iterator[dict[str, Any]]:
    sys.path[:0] = job.paths
    from abcrown_graft.engines.abcrown.instance import Host

    host = Host(job)
    yield {"ready": True}
    for task in job.tasks:
        yield {"begun": task.index}
        yield {"index": task.index, **host.attempt(task)}


def _end_with_parent(folder: str) -> None:
    """The standard input ends when the parent does; nobody is left to read the reports then, or to remove the job.

    It is read without the lock of `sys.stdin`, which Python could not take back from this thread at its end.
    """
    while os.read(0, 1024):
        pass
    if os.getsid(0) == os.getpid():
        shutil.rmtree(folder, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
