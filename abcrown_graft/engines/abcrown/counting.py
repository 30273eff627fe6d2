"""The instability dump of a run by α,β-CROWN: which images count, and what its process tells of them."""

from __future__ import annotations

from abcrown_graft.engines.abcrown.run import Finding
from abcrown_graft.errors import DataError
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify.problem import Batch
from abcrown_graft.verify.recorder import InstabilityRecorder


def is_counted(recorder: InstabilityRecorder | None, batch: Batch, k: int) -> bool:
    """Whether an image is of the population, as far as that is known before it is bounded.

    Args:
        recorder: of the dump and its population; None counts no image.
        batch: whose clean images are predicted.
        k: position of the image in the batch.
    """
    decided = batch.decisions.get(k)
    if recorder is None or recorder.has(batch.cases[k].index):
        return False
    if decided is not None and decided.verdict in (Verdict.ERROR, Verdict.OUT_OF_MEMORY):
        return False
    return {"all": True, "correct": batch.is_right(k), "bab": decided is None}[recorder.population]


def count_instability(recorder: InstabilityRecorder | None, finding: Finding) -> str | None:
    """Adds an image's instability to the dump, if the image counts; what went wrong, if it cannot be."""
    task, report = finding.task, finding.report
    if "error" in report:
        why = f"out of memory: {report['error']}" if report.get("out_of_memory") is True else report["error"]
        return None if task.verify else f"its instability could not be counted: {why}"
    flags = {name[len("unstable/") :]: t for name, t in finding.tensors.items() if name.startswith("unstable/")}
    if recorder is None or not task.count or (task.only_open and not flags):
        return None
    try:
        sites = recorder.dump.model.sites
        recorder.add([task.index], {site: flags[site].reshape(1, *shape) for site, shape in sites.items()})
    except (KeyError, RuntimeError, DataError) as error:
        return f"its instability could not be counted: {type(error).__name__}: {error}"
    return None
