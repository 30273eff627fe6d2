"""The recorder of a configuration's instability dump."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from abcrown_graft.assembly import effort
from abcrown_graft.assembly.options import DataOptions, GeneralOptions
from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.data import ImageData
from abcrown_graft.masks.options import InstabilityOptions
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.verify.options import SpecificationOptions
from abcrown_graft.verify.recorder import NATIVE_METHODS, InstabilityRecorder

LEFT_OPEN_BY = ("attack.", "solver.bound_prop_method", "solver.alpha-crown.")  # what comes before branch and bound


def instability_recorder(
    config: Config, model: LoadedModel, data: ImageData, methods: Sequence[str] = NATIVE_METHODS
) -> InstabilityRecorder | None:
    """The recorder of `instability.dump`, or None if that is not set; `methods` are those that the engine has."""
    path = config.path("instability.dump", must_exist=False)
    if path is None:
        return None
    pixels, counting = config.settings(DataOptions), config.settings(InstabilityOptions)
    about: dict[str, Any] = {
        "dataset": data.name,
        "split": data.split,
        "data": data.fingerprint,
        "epsilon": _counted_radius(config),
        "mean": pixels.mean,
        "std": pixels.std,
        "double_fp": config.settings(GeneralOptions).double_fp,
    }
    alpha = effort.alpha_settings(config)
    if counting.population == "bab":
        about |= {key: config[key] for key in SCHEMA if key.startswith(LEFT_OPEN_BY) and key != "attack.cex_path"}
    if counting.method == "alpha-crown":
        about["method_settings"] = {name: getattr(alpha, name) for name in ("iterations", "lr_alpha", "lr_decay")}
    return InstabilityRecorder(
        path, model.identity, model.grafted, about, counting.method, counting.population, methods, alpha
    )


def _counted_radius(config: Config) -> float | None:
    """Of the boxes: those of clean accuracy are the images themselves."""
    of_images = config.settings(SpecificationOptions).robustness_type == "clean-acc"
    return 0.0 if of_images else effort.radius(config)
