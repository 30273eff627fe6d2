"""Model definitions named by the YAML files: plain torch modules, each architecture written once.

Importing this package files every definition in `abcrown_graft.models.definitions.MODEL_DEFINITIONS`.
"""

from __future__ import annotations

from abcrown_graft.model_defs import cnn, cnn_b, convbig, convhuge, mnist_fc, resnet

__all__ = ["cnn", "cnn_b", "convbig", "convhuge", "mnist_fc", "resnet"]
