"""The plain network that the pipeline starts from."""

from __future__ import annotations

from abcrown_graft.config.config import Config
from abcrown_graft.pipeline.artifacts import artifact


def baseline_config(config: Config) -> Config:
    """The configuration of the network before grafting.

    `model.path` stays if it is set, else it is the training stage's checkpoint; `graft` is cleared.
    """
    path = config["model.path"] or str(artifact(config, "train.checkpoint").absolute())
    return config.replace({"model.path": path, "graft.mask": None, "graft.checkpoint": None}, "the plain network")


def grafted_config(config: Config) -> Config:
    """The configuration of the grafted and tuned network: `graft.checkpoint`, else the tuning stage's."""
    path = config["graft.checkpoint"] or str(artifact(config, "tune.checkpoint").absolute())
    return config.replace({"graft.checkpoint": path, "graft.mask": None}, "the grafted network")
