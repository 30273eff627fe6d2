"""What the commands print about a verification, besides the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abcrown_graft.masks.dump import InstabilityDump
    from abcrown_graft.verdict import InstanceResult
    from abcrown_graft.verify.runner import Run


def opening_lines(run: Run) -> list[str]:
    """What is left of earlier runs; nothing if this is the first."""
    lines = []
    kept, done, recorder = run.results.kept, run.results.done, run.recorder
    if kept:
        lines.append(f"earlier results kept as {kept}")
    if done:
        lines.append(f"resuming: {len(done)} of {len(run.indices)} {run.instances.noun}s are done")
    if recorder is not None and recorder.dump.n:
        lines.append(f"instability: going on with {recorder.dump.n} images counted in {recorder.path}")
    return lines


def verdict_line(result: InstanceResult) -> str:
    """One instance, as it comes."""
    bound = "" if result.lower_bound is None else f", margin at least {result.lower_bound:.5g}"
    classes = "" if result.label < 0 else f"label: {result.label}, predicted: {result.predicted}, "
    return f"idx: {result.index}, {classes}Result: {result.status} in {result.seconds:.4f} seconds{bound}"


def result_lines(run: Run, results: Sequence[InstanceResult]) -> list[str]:
    """The summary; of a single instance its result, both in α,β-CROWN's words."""
    from abcrown_graft.formats.vnncomp import WORDS
    from abcrown_graft.verify.summary import summary_lines

    if not run.instances.single:
        return summary_lines(results)
    (result,) = results
    return [f"Result: {WORDS[result.verdict]}", f"Time: {result.seconds}"]


def closing_lines(run: Run) -> list[str]:
    """Instability, engine, and where the results are."""
    lines = []
    recorder = run.recorder
    if recorder is not None:
        lines += [*unr_lines(recorder.dump), f"instability dump: {recorder.path.resolve()}"]
    lines.append(f"engine: {run.engine.name}")
    lines.append(f"results file: {run.results.path.resolve()}")
    return lines


def unr_lines(dump: InstabilityDump) -> list[str]:
    """The unstable neuron ratio under both denominators."""
    if dump.n == 0:
        return ["UNR: no image of the population was counted"]
    return [
        f"UNR: {100 * dump.unr():.2f}% of all neurons, {100 * dump.unr('ungrafted'):.2f}% of the ungrafted ones "
        f"({dump.n} images)"
    ]
