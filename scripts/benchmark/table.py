"""From records to a Markdown table: decisions, contradictions, times, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cases import Case
from records import Record, of

DECIDED = ("verified", "falsified")
HEADINGS = (
    "network", "ε", "grafted", "images", "decided ours / theirs / both", "only ours", "only theirs", "contradictions",
    "s, both decide: ours", "theirs", "ratio", "images with BaB in both", "s: ours", "theirs", "ratio",
    "peak MiB ours / theirs", "wall s ours / theirs",
    "CPU s ours / theirs",
)  # fmt: skip
LEGEND = (
    "theirs: α,β-CROWN. s: seconds per image as each verifier reports them, summed over the images that both decide, "
    "and over those of them that both decide by branch and bound. ratio: theirs / ours. peak: largest resident set of "
    "the process. wall, CPU: of the processes, start-up included (≥ if one of them was interrupted)."
)


@dataclass(frozen=True)
class Side:
    """What one verifier did in one case.

    Attributes:
        images: the line of each image.
        processes: the lines of its processes.
    """

    images: dict[int, Record]
    processes: list[Record]

    @property
    def decided(self) -> set[int]:
        """Images that are verified or falsified."""
        return {image for image, line in self.images.items() if line["verdict"] in DECIDED}

    def searched(self, image: int) -> bool:
        """Whether branch and bound decided: `safe` or `unsafe-bab`, possibly late, not `safe-incomplete`."""
        return self.images[image]["status"].split()[0] in ("safe", "unsafe-bab")

    def seconds(self, images: set[int]) -> float:
        """Summed over the images."""
        return sum(self.images[image]["seconds"] for image in images)

    @property
    def peak(self) -> str:
        """MiB of the largest process."""
        return f"{max((line['peak_mib'] for line in self.processes), default=float('nan')):.0f}"

    def taken(self, what: str) -> str:
        """Seconds, `wall` or `cpu`, of all processes."""
        whole = sum(line["images"] for line in self.processes) == len(self.images)
        return f"{'' if whole else '≥ '}{sum(line[what] for line in self.processes):.1f}"


def side(lines: Sequence[Record], case: Case, verifier: str) -> Side:
    """What `verifier` did in `case`."""
    mine = [line for line in lines if of(line, case, verifier)]
    images = {line["image"]: line for line in mine if "image" in line}
    return Side(images, [line for line in mine if "image" not in line])


def contradictions(ours: Side, theirs: Side) -> set[int]:
    """Images that one verified and the other falsified."""
    both = ours.decided & theirs.decided
    return {image for image in both if ours.images[image]["verdict"] != theirs.images[image]["verdict"]}


def row(case: Case, ours: Side, theirs: Side) -> list[str]:
    """The cells under `HEADINGS`; only images that both have tried count."""
    tried = ours.images.keys() & theirs.images.keys()
    mine, yours = ours.decided & tried, theirs.decided & tried
    both = mine & yours
    searched = {image for image in both if ours.searched(image) and theirs.searched(image)}
    return [
        *(case.network, f"{case.epsilon:.5g}", f"{case.grafted:.0%}", str(len(tried))),
        *(f"{len(mine)} / {len(yours)} / {len(both)}", str(len(mine - yours)), str(len(yours - mine))),
        str(len(contradictions(ours, theirs))),
        *_times(ours.seconds(both), theirs.seconds(both)),
        *(str(len(searched)), *_times(ours.seconds(searched), theirs.seconds(searched))),
        f"{ours.peak} / {theirs.peak}",
        *(f"{ours.taken(what)} / {theirs.taken(what)}" for what in ("wall", "cpu")),
    ]


def _times(ours: float, theirs: float) -> tuple[str, str, str]:
    return f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.1f}" if ours else "–"


def markdown(lines: Sequence[Record]) -> tuple[str, int]:
    """The table over all cases in the lines, and the number of contradictions."""
    found = dict.fromkeys(Case(line["network"], line["epsilon"], line["grafted"]) for line in lines)
    pairs = [(case, side(lines, case, "ours"), side(lines, case, "theirs")) for case in found]
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(row(*pair) for pair in pairs)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    wrong = [f"- {c.name}: image {i}" for c, a, b in pairs for i in sorted(contradictions(a, b))]
    warnings = f"\n\nContradictions:\n\n{chr(10).join(wrong)}" if wrong else ""
    return f"{table}\n\n{LEGEND}{warnings}\n", len(wrong)
