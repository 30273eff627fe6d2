"""How far two masks of one model graft the same neurons: counts and intersection over union (IoU)."""

from __future__ import annotations

from dataclasses import dataclass

from abcrown_graft.graft.mask import GraftMask, iou, iou_per_site

WHOLE = "all"


@dataclass(frozen=True)
class Overlap:
    """Two masks at one site, or of the whole model.

    Attributes:
        site: its name; `WHOLE` for the model.
        neurons: there are this many.
        first, second: grafted by each mask.
        both, either: grafted by both, and by at least one.
        iou: both / either; 1 if neither mask grafts any.
    """

    site: str
    neurons: int
    first: int
    second: int
    both: int
    either: int
    iou: float


def overlaps(first: GraftMask, second: GraftMask) -> tuple[Overlap, ...]:
    """The overlap at every site in forward order, and last of the whole model.

    Raises:
        MaskError: the masks have other sites or shapes.
    """
    per_site = iou_per_site(first, second)
    rows = [_overlap(site, first, second, share) for site, share in per_site.items()]
    fields = ("neurons", "first", "second", "both", "either")
    sums = {name: sum(getattr(row, name) for row in rows) for name in fields}
    return (*rows, Overlap(WHOLE, **sums, iou=iou(first, second)))


def _overlap(site: str, first: GraftMask, second: GraftMask, share: float) -> Overlap:
    a, b = first.masks[site], second.masks[site]
    counts = (int(a.sum()), int(b.sum()), int((a & b).sum()), int((a | b).sum()))
    return Overlap(site, a.numel(), *counts, share)
