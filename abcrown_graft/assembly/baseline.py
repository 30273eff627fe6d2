"""The plain network that the pipeline starts from, and the grafted one that it ends with."""

from __future__ import annotations

from pathlib import Path

from abcrown_graft.assembly.artifacts import artifact
from abcrown_graft.assembly.options import GraftOptions, ModelOptions, PipelineOptions
from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.models.weights import find_file

PLAIN = "the plain network"  # the origin of what the program sets for it
OF_GRAFTED = ("graft.", "significance.", "mask.", "tune.", "report.", "pipeline.")


def baseline_config(config: Config) -> Config:
    """The configuration of the network before grafting.

    `model.path` stays if it is set, else it is the training stage's checkpoint; `graft` is cleared.
    """
    path = config.settings(ModelOptions).path or str(artifact(config, "train.checkpoint").absolute())
    return config.replace({"model.path": path, "graft.mask": None, "graft.checkpoint": None}, PLAIN)


def is_baseline(config: Config) -> bool:
    """Whether it is a `baseline_config`, so that a network which is grafted already is a mistake."""
    return config.origin("graft.checkpoint") == PLAIN


def training_config(config: Config) -> Config:
    """The configuration of the training stage: what is about the grafted network has its default value.

    So the checkpoint, which keeps the settings it was made with, is the same for all runs that share it.
    """
    defaults = {key: option.default for key, option in SCHEMA.items() if key.startswith(OF_GRAFTED)}
    pipeline = config.settings(PipelineOptions)
    folder = pipeline.baseline or pipeline.output
    return config.replace({**defaults, "pipeline.output": folder}, PLAIN)


def grafted_config(config: Config) -> Config:
    """The configuration of the grafted and tuned network: `graft.checkpoint`, else the tuning stage's."""
    path = config.settings(GraftOptions).checkpoint or str(artifact(config, "tune.checkpoint").absolute())
    return config.replace({"graft.checkpoint": path, "graft.mask": None}, "the grafted network")


def plain_weights(config: Config) -> Path:
    """The plain network's checkpoint: `model.path`, else the training stage's."""
    named = config.path("model.path")
    return artifact(config, "train.checkpoint") if named is None else find_file(named)


def is_trained_here(config: Config) -> bool:
    """Whether the training stage makes the plain network; else `model.path` names a finished one."""
    return plain_weights(config).absolute() == artifact(config, "train.checkpoint").absolute()


def is_grafted_here(config: Config) -> bool:
    """Whether the run grafts; else it makes and measures the plain network alone."""
    return config.settings(PipelineOptions).networks == "both"
