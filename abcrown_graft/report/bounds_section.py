"""Lower bounds of the verified margin, before and after grafting (figure 4 of the paper)."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from abcrown_graft.report import style
from abcrown_graft.report.run_folder import NAMES, RunFolder
from abcrown_graft.report.section import Plot, Section, TableOf
from abcrown_graft.report.transitions import Paired, outcome_class, read_pair
from abcrown_graft.verdict import InstanceResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Lower bounds of the margin"
BINS = 30
TEXT = (
    "The best lower bound that verification found for the smallest margin over all other classes: above 0 the image is "
    "verified. Branch and bound stops once every part is above 0, so what it proved counts as the bound it reached, "
    "often just 0. Misclassified and attacked images have no bound where the attack came first."
)


def bounds_section(run: RunFolder) -> Section:
    """Means, histogram, and image by image."""
    pair = read_pair(run)
    bounds = {"baseline": lower_bounds(pair.baseline), "grafted": lower_bounds(pair.grafted)}
    common = [index for index in bounds["baseline"] if index in bounds["grafted"]]
    if not common:
        return Section(TITLE, ("No image has a lower bound for both networks; the bounds are not recorded.",))
    caption = (
        "Left: how the lower bounds are distributed, with their means (dashed). Right: one point per image that has a "
        "bound for both networks, coloured by its outcome for the grafted network; above the diagonal grafting helped."
    )
    plot = Plot("lower-bounds", caption, partial(_draw, pair=pair, bounds=bounds, common=common), (8.2, 3.9))
    return Section(TITLE, (TEXT,), (_table(bounds, common),), (plot,))


def lower_bounds(results: dict[int, InstanceResult]) -> dict[int, float]:
    """The finite lower bounds by index."""
    found = {index: result.lower_bound for index, result in results.items()}
    return {index: bound for index, bound in found.items() if bound is not None and math.isfinite(bound)}


def _table(bounds: dict[str, dict[int, float]], common: list[int]) -> TableOf:
    headings = (
        "network",
        "images with a bound",
        "mean",
        "median",
        "images with both",
        "mean of these",
        "median of these",
    )
    rows = []
    for name in NAMES:
        own, shared = list(bounds[name].values()), [bounds[name][index] for index in common]
        rows.append((name, *_figures(own), *_figures(shared)))
    return TableOf(headings, tuple(rows))


def _figures(values: list[float]) -> tuple[str, str, str]:
    return str(len(values)), f"{np.mean(values):.4f}", f"{np.median(values):.4f}"


def _draw(figure: Figure, pair: Paired, bounds: dict[str, dict[int, float]], common: list[int]) -> None:
    left, right = figure.subplots(1, 2)
    figure.set_layout_engine("constrained", wspace=0.08)
    _distribution(left, bounds)
    _scatter(right, pair, bounds, common)


def _distribution(axes: Axes, bounds: dict[str, dict[int, float]]) -> None:
    values = {name: np.array(list(bounds[name].values())) for name in NAMES}
    boundaries = np.histogram_bin_edges(np.concatenate(list(values.values())), BINS)
    for name, own in values.items():
        heights, _ = np.histogram(own, boundaries)
        colour, filled = style.NETWORKS[name], name == "baseline"
        label = f"{name}, mean {own.mean():.3g}"
        axes.stairs(
            heights, boundaries, fill=filled, alpha=0.45 if filled else 1, color=colour, linewidth=1.3, label=label
        )
        axes.axvline(own.mean(), color=colour, linestyle="--", linewidth=1.2)
    style.tidy(axes, "lower bound of the margin (logits)", "images")
    axes.locator_params("y", integer=True)
    style.legend_above(axes)


def _scatter(axes: Axes, pair: Paired, bounds: dict[str, dict[int, float]], common: list[int]) -> None:
    for name, colour in style.OUTCOMES.items():
        chosen = [index for index in common if outcome_class(pair.grafted[index]) == name]
        if chosen:
            x, y = ([bounds[network][index] for index in chosen] for network in NAMES)
            axes.scatter(x, y, s=16, color=colour, alpha=0.8, linewidths=0, label=f"{name} ({len(chosen)})", zorder=3)
    every = [bounds[name][index] for name in NAMES for index in common]
    low, high = min(*every, 0.0), max(*every, 0.0)
    margin = 0.06 * (high - low or 1.0)
    axes.axline((0, 0), slope=1, color=style.NEUTRAL, linewidth=0.8, linestyle=":")
    axes.axhline(0, color=style.NEUTRAL, linewidth=0.6)
    axes.axvline(0, color=style.NEUTRAL, linewidth=0.6)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    style.tidy(axes, "lower bound, baseline", "lower bound, grafted")
    style.legend_above(axes, title="outcome for the grafted network", columns=2)
