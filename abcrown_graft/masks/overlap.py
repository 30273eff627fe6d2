"""How far two masks of one model graft the same neurons: counts and intersection over union (IoU)."""

from __future__ import annotations

from dataclasses import dataclass

from abcrown_graft.errors import MaskError
from abcrown_graft.masks.identity import explain_sites
from abcrown_graft.masks.mask import GraftMask

WHOLE = "all"


@dataclass(frozen=True)
class Overlap:
    """Two masks at one site, or of the whole model.

    Attributes:
        site: its name; `WHOLE` for the model.
        neurons: there are this many.
        first, second: grafted by each mask.
        both: grafted by both.
    """

    site: str
    neurons: int
    first: int
    second: int
    both: int

    @property
    def either(self) -> int:
        """Grafted by at least one mask."""
        return self.first + self.second - self.both

    @property
    def iou(self) -> float:
        """Intersection over union; 1 if neither mask grafts any neuron."""
        return self.both / self.either if self.either else 1.0


def overlaps(first: GraftMask, second: GraftMask) -> tuple[Overlap, ...]:
    """The overlap at every site in forward order, and last of the whole model.

    Raises:
        MaskError: the masks have other sites or shapes.
    """
    difference = explain_sites(first.model.sites, second.model.sites)
    if difference:
        raise MaskError(f"masks of different models cannot be compared; the second has {difference}")
    rows = [_overlap(site, first, second) for site in first.masks]
    sums = (sum(getattr(row, name) for row in rows) for name in ("neurons", "first", "second", "both"))
    return (*rows, Overlap(WHOLE, *sums))


def _overlap(site: str, first: GraftMask, second: GraftMask) -> Overlap:
    a, b = first.masks[site], second.masks[site]
    return Overlap(site, a.numel(), int(a.sum()), int(b.sum()), int((a & b).sum()))
