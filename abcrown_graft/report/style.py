"""How plots look: colours that colour-blind readers tell apart (Okabe and Ito 2008), fonts, plain axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NETWORKS = {"baseline": "#0072B2", "grafted": "#D55E00"}
OUTCOMES = {"verified": "#009E73", "undecided": "#E69F00", "attacked": "#CC5A9A", "misclassified": "#7A7A7A"}
NEUTRAL = "#555555"
FONT = 9.0  # points


def tidy(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Names the axes and takes away the frame's upper and right side.

    Args:
        axes: of one picture.
        x, y: names of the axes.
        title: above the picture; "" for none.
    """
    axes.set_xlabel(x, fontsize=FONT)
    axes.set_ylabel(y, fontsize=FONT)
    axes.tick_params(labelsize=FONT - 1)
    if title:
        axes.set_title(title, fontsize=FONT + 0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def legend_above(axes: Axes, title: str | None = None, columns: int = 1) -> None:
    """A legend without a frame, above the axes.

    Args:
        axes: what is labelled in them is listed.
        title: of the legend, or None.
        columns: number of columns.
    """
    size = FONT - 0.5
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, title=title, frameon=False, fontsize=size,
        title_fontsize=size,
    )  # fmt: skip


def shared_legend(figure: Figure, axes: Axes) -> None:
    """A legend in two columns without a frame, above the whole figure, of what is labelled in some axes."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=FONT - 0.5)


def layer_name(site: str) -> str:
    """A layer's name in a plot: a bare number does not say that it is one."""
    return f"layer {site}" if site.isdigit() else site


def grid(figure: Figure, panels: int, columns: int = 4) -> list[Axes]:
    """Axes for `panels` small pictures, row by row; the rest of the last row stays empty.

    Args:
        figure: an empty one.
        panels: number of pictures.
        columns: pictures of a row at most.
    """
    across = min(panels, columns)
    every = figure.subplots(-(-panels // across), across, squeeze=False)
    flat: Sequence[Axes] = list(every.flat)
    for axes in flat[panels:]:
        axes.set_visible(False)
    return list(flat[:panels])


def grid_size(panels: int, columns: int = 4, panel: tuple[float, float] = (2.7, 2.3)) -> tuple[float, float]:
    """Width and height in inches of a figure of such a grid, with room for a legend above.

    Args:
        panels: number of pictures.
        columns: pictures of a row at most.
        panel: width and height of a picture in inches.
    """
    across = min(panels, columns)
    return max(across * panel[0], 5.0), -(-panels // across) * panel[1] + 0.4
