"""Instability against significance of every neuron, and which were grafted (figure 5 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abcrown_graft.errors import FileFormatError
from abcrown_graft.files import LEGACY_SUFFIXES
from abcrown_graft.masks.dump import load
from abcrown_graft.masks.identity import ModelIdentity, explain_difference
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.masks.scores import SiteScores
from abcrown_graft.report import style
from abcrown_graft.report.run_folder import RunFolder
from abcrown_graft.report.section import Plot, Section, TableOf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Instability and significance of the grafted neurons"
WIDE = 100.0  # largest / smallest positive significance from which the axis is logarithmic
DECADES = 1e6  # that such an axis spans at most
DRAWN = 50_000  # points, more only cover one another


@dataclass(frozen=True, eq=False)
class Criterion:
    """One entry per neuron `(neurons,)`: instability r_u in [0, 1], significance r_s, whether it was grafted.

    Attributes:
        method: of the significance.
        images: those that instability was counted on, in words.
    """

    instability: np.ndarray
    significance: np.ndarray
    grafted: np.ndarray
    method: str
    images: str


def criterion_section(run: RunFolder) -> Section:
    """The scatter of r_u and r_s coloured by the mask, and the means of both groups."""
    files = score_files(run)
    for path in files:
        if not path.is_file():
            return Section(TITLE, (f"Not shown: {path.name} is not in the run's folders.",))
        if path.suffix in LEGACY_SUFFIXES:
            return Section(TITLE, (f"Not shown: {path.name}, of the published code, does not name its network.",))
    run.check_unchanged(files[-1], "tune")
    found = read_criterion(*files)
    caption = (
        f"Every neuron's instability r_u (share of {found.images} on which it is unstable) and significance r_s "
        f"({found.method}), coloured by whether it was grafted. What is too small for a log axis lies at its lower end."
    )
    plot = Plot("criterion", caption, partial(_draw, found=found), (6.4, 4.0))
    return Section(TITLE, (), (_table(found),), (plot,))


def score_files(run: RunFolder) -> tuple[Path, Path, Path]:
    """Where the instability dump, the significance scores and the mask of a run lie, there or not."""
    dump, scores, mask = (run.artifact(key) for key in ("instability.dump", "significance.path", "mask.path"))
    return dump, scores if scores.is_file() else scores.with_name("significance.safetensors"), mask


def read_criterion(dump_file: Path, scores_file: Path, mask_file: Path) -> Criterion:
    """The three files, neuron by neuron.

    Args:
        dump_file: instability of the plain network.
        scores_file: significance of its neurons.
        mask_file: which of them were grafted.

    Raises:
        FileFormatError: one is damaged, counts no image, or they are of different models.
    """
    dump, scores, mask = load(dump_file), SiteScores.load(scores_file), GraftMask.load(mask_file)
    for path, model in ((scores_file, scores.model), (mask_file, mask.model)):
        _check_same_model(path, model, dump_file, dump.model)
    if not dump.n:
        raise FileFormatError(f"{dump_file}: counts no image; run 'abcrown-graft run' again")
    rates, sites = dump.rates().values, list(dump.model.sites)
    columns = (rates, scores.values, mask.masks)
    r_u, r_s, grafted = (np.concatenate([values[site].flatten().numpy() for site in sites]) for values in columns)
    method = str(scores.provenance.get("method", "unknown method"))
    return Criterion(r_u, r_s, grafted, method, _images(dump.settings.get("split")))


def _images(split: str | None) -> str:
    return {"train": "training images", None: "counted images"}.get(split, f"{split} images")


def _check_same_model(path: Path, model: ModelIdentity | None, dump_file: Path, expected: ModelIdentity) -> None:
    if model is not None and model != expected:
        difference = explain_difference(expected, model)
        raise FileFormatError(
            f"{path}: of another model than {dump_file} ({difference}); run 'abcrown-graft run' again"
        )


def _table(found: Criterion) -> TableOf:
    rows = []
    for name, chosen in (("grafted", found.grafted), ("kept", ~found.grafted)):
        rows.append(
            (
                name,
                str(int(chosen.sum())),
                *(_mean(values[chosen]) for values in (found.instability, found.significance)),
            )
        )
    return TableOf(("neurons", "number", "mean r_u", "mean r_s"), tuple(rows))


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.4g}" if len(values) else "-"


def _draw(figure: Figure, found: Criterion) -> None:
    axes = figure.add_subplot()
    order = np.random.default_rng(0).permutation(len(found.grafted))[:DRAWN]  # neither group covers the other
    colours = np.where(found.grafted, style.NETWORKS["grafted"], style.NETWORKS["baseline"])[order]
    significance, log = _shown(found.significance)
    size = float(np.clip(20_000 / len(order), 4, 14))
    axes.scatter(
        found.instability[order], significance[order], s=size, c=list(colours), alpha=0.5, linewidths=0, rasterized=True
    )
    if log:
        axes.set_yscale("log")
    style.tidy(axes, "instability $r_u$ (share of images)", f"significance $r_s$ ({found.method})")
    for name, colour, count in (
        ("grafted", style.NETWORKS["grafted"], int(found.grafted.sum())),
        ("kept", style.NETWORKS["baseline"], int((~found.grafted).sum())),
    ):
        axes.scatter([], [], s=22, color=colour, label=f"{name} ({count} neurons)")
    style.shared_legend(figure, axes)


def _shown(significance: np.ndarray) -> tuple[np.ndarray, bool]:
    """The heights of the points, and whether on a log axis, where very small ones and zeros lie at the bottom."""
    positive = significance[significance > 0]
    if not len(positive) or (significance < 0).any() or positive.max() < WIDE * positive.min():
        return significance, False
    return np.maximum(significance, max(positive.min() / 2, positive.max() / DECADES)), True
