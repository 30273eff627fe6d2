"""Five images of two pixels, and networks that say which pixel is brighter: every margin is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from command_line import miniature

from abcrown_graft.config.config import Config

# Margins of the true class: 0.6, 0.3 and 0.05 where it is right; the fourth and the fifth image are misclassified.
PIXELS = [[0.8, 0.2], [0.4, 0.7], [0.5, 0.45], [0.1, 0.9], [0.6, 0.5]]
LABELS = [0, 1, 0, 0, 1]


def save_pixels(path: Path, **arrays: np.ndarray) -> Path:
    """Writes the images as a test split, with other arrays of the split."""
    np.savez(path, x_test=images(), y_test=np.array(LABELS), **arrays)
    return path


def images() -> np.ndarray:
    """`(5, 1, 1, 2)`."""
    return np.array(PIXELS, dtype=np.float32).reshape(5, 1, 1, 2)


def two_pixels(folder: Path, net: str, **changed: Any) -> Config:
    """A configuration of these images; `net` is the text of a file that defines the network, `brighter`."""
    (folder / "net.py").write_text(net)
    return miniature(
        folder,
        model__name='Customized("net.py", "brighter")',
        model__input_shape=[-1, 1, 1, 2],
        data__dataset=str(save_pixels(folder / "pixels.npz")),
        data__num_outputs=2,
        **changed,
    )
