"""Our networks and images for α,β-CROWN; its process imports this file through `Customized("abcrown_network", ...)`.

A grafted activation is the operator of the plugin, see `abcrown_graft.engines.abcrown.operator`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from prepare import config_of
from torch import nn

from abcrown_graft.assembly.inputs import configured_model
from abcrown_graft.engines.abcrown.network import as_abcrown_network


def network(words: list[str]) -> nn.Module:
    """The network of an `abcrown` command line, without normalisation."""
    return as_abcrown_network(configured_model(config_of(words)).core)


def instances(path: str, specification: Mapping[str, Any]) -> dict[str, Any]:
    """The images of `prepare.py`, normalised here: the network takes normalised images, the box is normalised too."""
    arrays = np.load(path, allow_pickle=False)
    mean, std = torch.from_numpy(arrays["mean"]), torch.from_numpy(arrays["std"])
    return {
        "X": (torch.from_numpy(arrays["images"]) - mean) / std,
        "labels": torch.from_numpy(arrays["labels"]),
        "data_min": ((0 - mean) / std)[None],
        "data_max": ((1 - mean) / std)[None],
        "eps": (specification["epsilon"] / std)[None],
        "norm": float("inf"),
        "runnerup": None,
        "target_label": None,
    }
