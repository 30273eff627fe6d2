"""Hashes that tell whether two networks have the same structure and the same weights."""

from __future__ import annotations

import hashlib

from torch import Tensor

from abcrown_graft.network import operators as op
from abcrown_graft.network.graph import Network

LENGTH = 16


def architecture_fingerprint(network: Network) -> str:
    """Hex hash of operators, shapes and wiring; a grafted ReLU counts as a ReLU.

    So a model, its grafted copies and its retrained copies agree.
    """
    positions = {node.name: k for k, node in enumerate(network.nodes)}
    lines = []
    for node in network.nodes:
        operator = node.operator.ungrafted()
        kind, settings = type(operator).__name__, _settings(operator)
        site = node.name if node.name in network.sites else ""
        lines.append(f"{kind} {settings} {[positions[name] for name in node.inputs]} {node.shape} {site}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:LENGTH]


def _settings(operator: op.Operator) -> dict[str, object]:
    return {k: tuple(v.shape) if isinstance(v, Tensor) else v for k, v in sorted(vars(operator).items())}


def weights_fingerprint(network: Network) -> str:
    """Hex hash of every constant of the network, bit by bit."""
    digest = hashlib.sha256()
    for node in network.nodes:
        for name, value in sorted(vars(node.operator).items()):
            if isinstance(value, Tensor):
                digest.update(f"{node.name}.{name}{tuple(value.shape)}{value.dtype}".encode())
                digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:LENGTH]
