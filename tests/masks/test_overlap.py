from __future__ import annotations

import pytest
import torch

from abcrown_graft.errors import MaskError
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.masks.overlap import Overlap, overlaps


def mask(**rows: list[int]) -> GraftMask:
    masks = {site: torch.tensor(row).bool() for site, row in rows.items()}
    return GraftMask(masks, ModelIdentity("a", "w", {site: (len(row),) for site, row in rows.items()}))


def test_counts_and_iou_of_every_site_and_of_the_whole():
    first, second = mask(s=[1, 1, 0, 0], t=[0, 0, 1]), mask(s=[0, 1, 1, 1], t=[0, 0, 1])
    rows = overlaps(first, second)
    assert rows == (Overlap("s", 4, 2, 3, 1), Overlap("t", 3, 1, 1, 1), Overlap("all", 7, 3, 4, 2))
    assert [(row.either, row.iou) for row in rows] == [(4, 0.25), (1, 1.0), (5, 0.4)]


def test_masks_that_graft_nothing_agree():
    nothing = mask(s=[0, 0])
    assert [row.iou for row in overlaps(nothing, nothing)] == [1.0, 1.0]
    assert [row.iou for row in overlaps(nothing, mask(s=[0, 1]))] == [0.0, 0.0]


def test_masks_of_other_sites_are_refused():
    with pytest.raises(MaskError, match="the second has missing sites: 's'"):
        overlaps(mask(s=[1, 0]), mask(t=[1, 0]))
