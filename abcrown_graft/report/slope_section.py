"""The slopes and intercepts that tuning has learned, layer by layer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abcrown_graft.config.config import Config
from abcrown_graft.errors import FileFormatError
from abcrown_graft.files import load_tensors
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.report import style
from abcrown_graft.report.run_folder import RunFolder
from abcrown_graft.report.section import Plot, Section, TableOf

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Learned slopes and intercepts"
BINS = 50
BESIDE = 5  # layers with which the two panels stand side by side
LONG = 9  # characters of a layer's name that is turned to fit
Layers = dict[str, tuple[np.ndarray, np.ndarray]]


def slope_section(run: RunFolder) -> Section:
    """Distribution of slope a and intercept b of the grafted neurons per layer."""
    starts = _starts(run.settings())
    path = run.artifact("tune.checkpoint")
    if not path.is_file():
        return Section(TITLE, (f"Not shown: {path.name} is not in the run's folder.",))
    run.check_unchanged(path, "verify grafted")
    layers = read_slopes(path)
    if not layers:
        return Section(TITLE, ("No neuron is grafted.",))
    if not any(values.any() for pair in layers.values() for values in pair):
        return Section(TITLE, ("All slopes and intercepts are 0: the neurons are pruned.",))
    caption = "Slopes a and intercepts b of the grafted neurons, y = a·z + b, per layer; the bar marks the median"
    caption += "." if starts[0] is None else ", the dotted line where tuning started."
    draw = partial(_draw, layers=layers, starts=starts)
    return Section(TITLE, (), (_table(layers),), (Plot("slopes", caption, draw, _size(len(layers))),))


def _starts(settings: Config | None) -> tuple[float | None, float | None]:
    """The slope and the intercept that tuning gave every grafted neuron at first; None where they are not known."""
    if settings is None or settings["tune.fit_lines"]:
        return None, None
    return settings["tune.slope"], settings["tune.intercept"]


def read_slopes(path: Path) -> Layers:
    """Slopes and intercepts of the grafted neurons `(grafted,)` of every layer that has any, in forward order.

    Raises:
        FileFormatError: the file is damaged or no grafted checkpoint.
    """
    tensors, header = load_tensors(path, "checkpoint")
    grafted = [name.removesuffix(".mask") for name in tensors if name.endswith(".mask")]
    plain = header.get("plain")
    forward = list(ModelIdentity.from_header(plain, str(path)).sites) if plain is not None else sorted(grafted)
    layers = {}
    for site in (name for name in forward if name in grafted):
        try:
            mask = tensors[f"{site}.mask"].bool()
            slope, intercept = tensors[f"{site}.slope"][mask], tensors[f"{site}.intercept"][mask]
        except (KeyError, IndexError):
            raise FileFormatError(
                f"{path}: no grafted checkpoint at layer {site!r}; run 'abcrown-graft run' again"
            ) from None
        if len(slope):
            layers[site] = (slope.double().numpy(), intercept.double().numpy())
    return layers


def _table(layers: Layers) -> TableOf:
    headings = ("layer", "grafted", "slope, mean", "std", "slope ≤ 0 %", "intercept, mean", "std")
    return TableOf(
        headings,
        tuple(
            (site, str(len(a)), *(f"{x:.3f}" for x in (a.mean(), a.std())), f"{100 * np.mean(a <= 0):.1f}",
             *(f"{x:.3f}" for x in (b.mean(), b.std())))
            for site, (a, b) in layers.items()
        ),
    )  # fmt: skip


def _size(layers: int) -> tuple[float, float]:
    """Width and height in inches; many layers need the whole width."""
    return (7.5, 3.4) if layers <= BESIDE else (max(7.5, 0.85 * layers), 5.6)


def _draw(figure: Figure, layers: Layers, starts: tuple[float | None, float | None]) -> None:
    panels = figure.subplots(1, 2) if len(layers) <= BESIDE else figure.subplots(2, 1)
    figure.set_layout_engine("constrained", wspace=0.06)
    for k, (axes, name) in enumerate(zip(panels, ("slope a", "intercept b"), strict=True)):
        start, values = starts[k], [pair[k] for pair in layers.values()]
        if start is not None:
            axes.axhline(start, color=style.NEUTRAL, linestyle=":", linewidth=1, zorder=0)
        boundaries = np.histogram_bin_edges(np.concatenate(values), BINS)
        for place, own in enumerate(values):
            _mirrored_histogram(axes, place, own, boundaries)
        style.tidy(axes, "", name)
        names = [style.layer_name(site) for site in layers]
        long = max(map(len, names)) > LONG
        axes.set_xticks(range(len(names)), names, rotation=30 if long else 0, ha="right" if long else "center")


def _mirrored_histogram(axes: Axes, place: int, values: np.ndarray, boundaries: np.ndarray) -> None:
    """A histogram turned upright and mirrored, 0.8 wide where it is widest, around x = `place`."""
    heights, _ = np.histogram(values, boundaries)
    half = 0.4 * np.append(heights, heights[-1]) / heights.max()
    axes.fill_betweenx(
        boundaries, place - half, place + half, step="post", color=style.NETWORKS["grafted"], alpha=0.55, linewidth=0
    )
    median = float(np.median(values))
    axes.plot([place - 0.2, place + 0.2], [median, median], color="black", linewidth=1.6)
