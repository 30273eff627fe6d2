"""A part of a report: words, tables and plots, whatever the format they are rendered in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class TableOf:
    """Cells as text; the first column holds names, the others numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plot:
    """A picture that is drawn when it is rendered.

    Attributes:
        name: short, for files.
        caption: what is to be seen, in a sentence; also read out where pictures cannot be.
        draw: fills an empty figure.
        size: width and height in inches.
    """

    name: str
    caption: str
    draw: Callable[[Figure], None]
    size: tuple[float, float]


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, tables and plots, in this order."""

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[TableOf, ...] = ()
    plots: tuple[Plot, ...] = ()
