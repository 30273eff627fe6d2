"""Plots as pictures."""

from __future__ import annotations

import sys

import pytest
from report_runs import RunWriter

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.report.document import sections
from abcrown_graft.report.render import picture, require_matplotlib
from abcrown_graft.report.run_folder import open_run
from abcrown_graft.report.section import Plot

EMPTY = Plot("empty", "nothing", lambda figure: None, (2.0, 1.0))


def test_every_plot_of_a_run_is_drawn_with_its_axes_named(run: RunWriter) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    plots = [plot for section in sections(open_run(run.folder)) for plot in section.plots]
    assert [plot.name for plot in plots] == ["outcomes", "unstable", "lower-bounds", "criterion", "slopes"]
    for plot in plots:
        figure = Figure(layout="constrained")
        plot.draw(figure)
        assert plot.caption and figure.axes
        shown = [axes for axes in figure.axes if axes.axison and axes.get_visible()]
        assert all(axes.get_ylabel() for axes in shown), plot.name


def test_the_same_plot_gives_the_same_picture(run: RunWriter) -> None:
    pytest.importorskip("matplotlib")
    plot = sections(open_run(run.folder))[0].plots[0]
    assert picture(plot) == picture(plot) and picture(plot).lstrip().startswith(b"<?xml")
    assert picture(plot, "png").startswith(b"\x89PNG")


def test_nothing_of_the_callers_matplotlib_is_changed() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)
    picture(EMPTY)
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'matplotlib>=3.8', or name a file ending in .md"):
        require_matplotlib()
