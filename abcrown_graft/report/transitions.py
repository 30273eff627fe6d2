"""What becomes of each image's outcome by grafting: misclassified, attacked, verified, undecided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from abcrown_graft.errors import FileFormatError
from abcrown_graft.report.comparable import check_comparable
from abcrown_graft.report.outcome import read_verdicts
from abcrown_graft.report.run_folder import RunFolder
from abcrown_graft.report.sankey import draw_sankey
from abcrown_graft.report.section import Plot, Section, TableOf
from abcrown_graft.verdict import InstanceResult, Verdict

TITLE = "Outcomes before and after"
CLASSES = ("verified", "undecided", "attacked", "misclassified")
LEGEND = (
    "misclassified: wrong on the clean image; attacked: right on it, and a counterexample was found; verified: proved "
    "robust; undecided: everything else (time limit, memory, errors)."
)


@dataclass(frozen=True)
class Paired:
    """The results of both networks of a run on the images that both have; of other images, only their number.

    Attributes:
        baseline, grafted: by index, the same indices in both.
        left_out: images that only one network was verified on.
    """

    baseline: dict[int, InstanceResult]
    grafted: dict[int, InstanceResult]
    left_out: int


def read_pair(run: RunFolder) -> Paired:
    """Both networks' results.

    Raises:
        FileFormatError: a file is damaged or unfinished, or the two are of different images or settings.
    """
    files = run.results("baseline"), run.results("grafted")
    (about, before), (other, after) = (read_verdicts(file) for file in files)
    check_comparable(files, (about, other))
    common = [index for index in before if index in after]
    if not common:
        raise FileFormatError(f"{files[1]}: no image in common with {files[0]}; run 'abcrown-graft run' again")
    left_out = len(before.keys() ^ after.keys())
    return Paired({i: before[i] for i in common}, {i: after[i] for i in common}, left_out)


def outcome_class(result: InstanceResult) -> str:
    """The one of `CLASSES` that a result belongs to."""
    if result.verdict is Verdict.VERIFIED:
        return "verified"
    if result.verdict is Verdict.FALSIFIED:
        return "attacked" if result.predicted == result.label else "misclassified"
    return "undecided"


def count_transitions(before: Mapping[int, InstanceResult], after: Mapping[int, InstanceResult]) -> list[list[int]]:
    """Numbers of images by class before (rows) and after (columns), in the order of `CLASSES`."""
    counts = [[0] * len(CLASSES) for _ in CLASSES]
    for index, result in before.items():
        counts[CLASSES.index(outcome_class(result))][CLASSES.index(outcome_class(after[index]))] += 1
    return counts


def transition_section(run: RunFolder) -> Section:
    """The table of transitions, and a Sankey diagram of it."""
    pair = read_pair(run)
    counts = count_transitions(pair.baseline, pair.grafted)
    total = sum(map(sum, counts))
    caption = f"Outcomes of {total} images for the baseline (left) and the grafted network (right)."
    plot = Plot("outcomes", caption, partial(draw_sankey, names=CLASSES, counts=counts), (7.2, 4.2))
    left_out = f" {pair.left_out} images that only one of them was verified on are left out." if pair.left_out else ""
    text = f"{total} images that verification was run on for both networks.{left_out} {LEGEND}"
    return Section(TITLE, (text,), (_table(counts),), (plot,))


def _table(counts: list[list[int]]) -> TableOf:
    headings = ("baseline \\ grafted", *CLASSES, "all")
    rows = [(name, *map(str, row), str(sum(row))) for name, row in zip(CLASSES, counts, strict=True)]
    columns = [sum(column) for column in zip(*counts, strict=True)]
    return TableOf(headings, (*rows, ("all", *map(str, columns), str(sum(columns)))))
