"""Reading the masks that `abcrown-graft mask --compare` is given, and their overlaps as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from abcrown_graft.assembly import inputs
from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError, MaskError
from abcrown_graft.files import LEGACY_SUFFIXES
from abcrown_graft.masks.identity import ModelIdentity, explain_difference
from abcrown_graft.masks.legacy import legacy_mask
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.masks.overlap import Overlap, overlaps

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = ("site", "neurons", "first", "second", "both", "either", "IoU")


def compare_masks(config: Config, paths: Sequence[Path]) -> list[tuple[str, Table]]:
    """A line that names the files and a table, for each pair of masks in the order given.

    Args:
        config: `model.name` says which network the published lists of tensors (`.pt`, `.pth`) are of.
        paths: of two or more files.

    Raises:
        ConfigError: there are fewer, or `model.name` is needed and not set.
        MaskError: the masks are of different models; their weights may differ.
        FileFormatError: a file is missing, damaged or no mask.
    """
    if len(paths) < 2:
        raise ConfigError(f"--compare: {len(paths)} mask given, it takes two or more files")
    masks = [_read(config, path) for path in paths]
    for path, mask in zip(paths[1:], masks[1:], strict=True):
        if (mask.model.architecture, mask.model.sites) != (masks[0].model.architecture, masks[0].model.sites):
            difference = explain_difference(masks[0].model, mask.model)
            raise MaskError(f"{path}: a mask of another model than {paths[0]} ({difference}); give masks of one model")
    pairs = combinations(zip(paths, masks, strict=True), 2)
    return [(f"first: {a}, second: {b}", _table(overlaps(first, second))) for (a, first), (b, second) in pairs]


def _read(config: Config, path: Path) -> GraftMask:
    if path.suffix in LEGACY_SUFFIXES:
        return legacy_mask(path, named_model(config, path))
    return GraftMask.load(path)


def named_model(config: Config, path: Path) -> ModelIdentity:
    """The identity of `model.name`, for files that do not say whose they are; the weights are not known."""
    inputs.require(config, "model.name", f"{path} does not say which network it is of")
    return replace(inputs.untrained_model(config).identity, weights="unknown")


def _table(rows: Sequence[Overlap]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "site" else "right")
    for row in rows:
        counts = (row.neurons, row.first, row.second, row.both, row.either)
        table.add_row(escape(row.site), *map(str, counts), f"{row.iou:.4f}", end_section=row is rows[-2])
    return table
