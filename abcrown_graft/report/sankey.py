"""A Sankey diagram between two stacks of the same classes, as ribbons of cubic Bézier curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from abcrown_graft.report.style import FONT, NEUTRAL, OUTCOMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Span = tuple[float, float]
WIDTH = 0.045  # of a stack's bar, the stacks stand at x = 0 and x = 1
GAP = 0.035  # between classes, as a share of all images
HAIR = 0.5  # points, the outline by which a single image of thousands is still seen
LABEL = 0.075  # least distance of two labels, in the same unit


def draw_sankey(
    figure: Figure,
    names: Sequence[str],
    counts: Sequence[Sequence[int]],
    sides: tuple[str, str] = ("baseline", "grafted"),
) -> None:
    """Draws the transitions.

    Args:
        figure: empty.
        names: of the classes, from top to bottom; coloured by `style.OUTCOMES`.
        counts: images by class before (rows) and after (columns); at least one image.
        sides: what the left and the right stack are.
    """
    total = sum(map(sum, counts))
    shares = [[count / total for count in row] for row in counts]
    before, after = [sum(row) for row in shares], [sum(column) for column in zip(*shares, strict=True)]
    left, right = stack(before), stack(after)
    axes = figure.add_subplot()
    axes.set_axis_off()
    for i, _, start, end in ribbons(shares, left, right):
        _ribbon(axes, start, end, OUTCOMES[names[i]])
    for x, side, spans, totals in ((0.0, sides[0], left, before), (1.0, sides[1], right, after)):
        _bars(axes, x, names, spans)
        _labels(axes, x, names, spans, [round(share * total) for share in totals], total)
        axes.text(x, 0.045, side, ha="center", va="bottom", fontsize=FONT + 1.5, fontweight="bold")
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylim(min(left[-1][0], right[-1][0], -1 - LABEL) - 0.03, 0.13)


def stack(shares: Sequence[float]) -> list[Span]:
    """Where each class stands, (low, high) with 0 at the top; an empty class takes no room but its place."""
    spans, top = [], 0.0
    for share in shares:
        spans.append((top - share, top))
        top -= share + (GAP if share else 0.0)
    return spans


def ribbons(
    shares: Sequence[Sequence[float]], left: Sequence[Span], right: Sequence[Span]
) -> list[tuple[int, int, Span, Span]]:
    """Each flow with its row, its column, and where it leaves and arrives; flows do not cross within a stack.

    Args:
        shares: of each flow, by row and column; 0 where there is none.
        left: from where to where each row's stack reaches.
        right: the same of each column.
    """
    leave, arrive, found = [high for _, high in left], [high for _, high in right], []
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            if share:
                found.append((i, j, (leave[i] - share, leave[i]), (arrive[j] - share, arrive[j])))
                leave[i] -= share
                arrive[j] -= share
    return found


def spread(places: Sequence[float], distance: float) -> list[float]:
    """Heights, falling, at least `distance` apart, near the wanted ones (which fall too)."""
    groups: list[list[float]] = []
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _top(groups[-1], distance) > _bottom(groups[-2], distance) - distance:
            last = groups.pop()
            groups[-1] += last
    return [_top(group, distance) - k * distance for group in groups for k in range(len(group))]


def _top(group: Sequence[float], distance: float) -> float:
    """The first height of labels that stand together around their mean."""
    return sum(group) / len(group) + distance * (len(group) - 1) / 2


def _bottom(group: Sequence[float], distance: float) -> float:
    return _top(group, distance) - distance * (len(group) - 1)


def _ribbon(axes: Axes, start: Span, end: Span, colour: str) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    x0, x1, middle = WIDTH / 2, 1 - WIDTH / 2, 0.5
    points = [
        *((x0, start[1]), (middle, start[1]), (middle, end[1]), (x1, end[1])),
        *((x1, end[0]), (middle, end[0]), (middle, start[0]), (x0, start[0])),
        (x0, start[1]),
    ]
    curve = [Path.CURVE4] * 3
    codes = [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY]
    axes.add_patch(PathPatch(Path(points, codes), facecolor=colour, alpha=0.45, edgecolor=colour, linewidth=HAIR))


def _bars(axes: Axes, x: float, names: Sequence[str], spans: Sequence[Span]) -> None:
    from matplotlib.patches import Rectangle

    for name, (low, high) in zip(names, spans, strict=True):
        if high > low:
            axes.add_patch(Rectangle((x - WIDTH / 2, low), WIDTH, high - low, color=OUTCOMES[name], linewidth=2 * HAIR))


def _labels(
    axes: Axes, x: float, names: Sequence[str], spans: Sequence[Span], images: Sequence[int], total: int
) -> None:
    """Names and numbers beside the bars, on the outer side, with a line to the bar where a label had to move."""
    shown = [k for k, (low, high) in enumerate(spans) if high > low]
    wanted = [sum(spans[k]) / 2 for k in shown]
    outward = -1 if x == 0 else 1
    for k, centre, height in zip(shown, wanted, spread(wanted, LABEL), strict=True):
        edge, far = x + outward * WIDTH / 2, x + outward * (WIDTH / 2 + 0.035)
        axes.plot([edge, far], [centre, height], color=NEUTRAL, linewidth=0.6, solid_capstyle="butt")
        words = f"{names[k]}  {images[k]} ({100 * images[k] / total:.1f} %)"
        side = "right" if outward < 0 else "left"
        axes.text(far + outward * 0.01, height, words, ha=side, va="center", fontsize=FONT)
