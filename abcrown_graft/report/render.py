"""Plots as pictures, through matplotlib's object interface: no window, no state shared with the caller."""

from __future__ import annotations

import io

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.report.section import Plot

DPI = 150  # of what is drawn as pixels


def require_matplotlib() -> None:
    """Raises UnsupportedError if matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UnsupportedError(
            "a report with plots needs matplotlib, which is not installed: pip install 'matplotlib>=3.8', "
            "or name a file ending in .md or .csv in report.path"
        ) from None


def picture(plot: Plot, format: str = "svg") -> bytes:
    """The plot as a "svg" or "png" file; the same plot gives the same bytes.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    content = io.BytesIO()
    metadata = {"Date": None} if format == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "abcrown-graft", "svg.fonttype": "path"}):
        figure = Figure(figsize=plot.size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        plot.draw(figure)
        figure.savefig(content, format=format, metadata=metadata)
    return content.getvalue()
