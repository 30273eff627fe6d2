"""On how many of the verified images each neuron is unstable, before and after grafting (figure 3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from abcrown_graft.errors import FileFormatError
from abcrown_graft.masks.dump import InstabilityDump, load
from abcrown_graft.masks.identity import explain_sites
from abcrown_graft.report import style
from abcrown_graft.report.run_folder import NAMES, RunFolder
from abcrown_graft.report.section import Plot, Section, TableOf

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Neurons unstable on m images"
BINS = 40
WHOLE = "all layers"


def instability_section(run: RunFolder) -> Section:
    """Histograms over m, of the whole network and of each layer, with the shares behind them."""
    dumps = {name: load(run.dump(name)) for name in NAMES}
    _check_same_sites(run, dumps)
    if not all(dump.n for dump in dumps.values()):
        return Section(TITLE, ("No image was counted for one of the networks, so there is nothing to show.",))
    panels = [WHOLE, *dumps["baseline"].model.sites]
    caption = (
        "Number of neurons that are unstable on m images, m ≥ 1, overall and per layer; the counts are on a log axis."
    )
    draw = partial(_draw, dumps=dumps, panels=panels)
    plot = Plot("unstable", caption, draw, style.grid_size(len(panels), panel=(2.8, 2.4)))
    return Section(TITLE, (_images_text(dumps),), (_table(dumps, panels),), (plot,))


def neuron_counts(dump: InstabilityDump, panel: str) -> np.ndarray:
    """m of every neuron of a layer, or of all for `WHOLE`, int64 `(neurons,)`."""
    sites = dump.model.sites if panel == WHOLE else [panel]
    return np.concatenate([dump.counts[site].flatten().numpy() for site in sites])


def edges(largest: int) -> np.ndarray:
    """Boundaries of at most `BINS` bins of whole numbers from 1 to `largest`, all of one width."""
    width = max(1, -(-largest // BINS))
    return np.arange(0.5, largest + width + 0.5, width)


def _check_same_sites(run: RunFolder, dumps: dict[str, InstabilityDump]) -> None:
    difference = explain_sites(dumps["baseline"].model.sites, dumps["grafted"].model.sites)
    if difference:
        raise FileFormatError(
            f"{run.dump('grafted')}: of another model than {run.dump('baseline')} ({difference}); "
            "run 'abcrown-graft run' again"
        )


def _images_text(dumps: dict[str, InstabilityDump]) -> str:
    before, after = (set(dumps[name].indices.tolist()) for name in NAMES)
    if before == after:
        return f"Both networks were counted on the same {len(before)} images."
    population = dumps["baseline"].settings.get("population", "their own")
    return (
        f"The baseline was counted on {len(before)} images and the grafted network on {len(after)}; "
        f"{len(before & after)} are the same (population: {population})."
    )


def _table(dumps: dict[str, InstabilityDump], panels: Sequence[str]) -> TableOf:
    shares = ("ever unstable %", "on half or more %", "on all %")
    headings = ("layer", "neurons", "grafted", *(f"{words}, {name}" for words in shares for name in NAMES))
    return TableOf(headings, tuple(_row(dumps, panel) for panel in panels))


def _row(dumps: dict[str, InstabilityDump], panel: str) -> tuple[str, ...]:
    shares = []
    for least in (lambda n: 1, lambda n: (n + 1) // 2, lambda n: n):
        shares += [f"{100 * np.mean(neuron_counts(dumps[name], panel) >= least(dumps[name].n)):.2f}" for name in NAMES]
    grafted = dumps["grafted"].grafted
    count = sum(grafted.values()) if panel == WHOLE else grafted[panel]
    return (panel, str(len(neuron_counts(dumps["baseline"], panel))), str(count), *shares)


def _draw(figure: Figure, dumps: dict[str, InstabilityDump], panels: Sequence[str]) -> None:
    boundaries = edges(max(dump.n for dump in dumps.values()))
    every = style.grid(figure, len(panels))
    for axes, panel in zip(every, panels, strict=True):
        for name in NAMES:
            _histogram(axes, neuron_counts(dumps[name], panel), boundaries, name, dumps[name].n)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        axes.set_xlim(0, boundaries[-1])
        style.tidy(axes, "m (images)", "neurons", panel if panel == WHOLE else style.layer_name(panel))
    style.shared_legend(figure, every[0])


def _histogram(axes: Axes, counts: np.ndarray, boundaries: np.ndarray, name: str, images: int) -> None:
    heights, _ = np.histogram(counts, boundaries)
    label, colour = f"{name} ({images} images)", style.NETWORKS[name]
    filled = name == "baseline"
    axes.stairs(
        heights,
        boundaries,
        baseline=0.7,
        fill=filled,
        alpha=0.45 if filled else 1,
        color=colour,
        label=label,
        linewidth=1.3,
    )
