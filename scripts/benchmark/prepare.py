"""Chooses the instances of a case: `python prepare.py COUNT FILE.npz [flags of abcrown]`.

They are the first COUNT images of the test split that the network, grafted or not, classifies correctly. FILE.npz gets
`images` (pixels in [0, 1]), `labels`, `indices` in the data set, `outputs` of our model, and `mean` and `std`, which
broadcast over an image.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.assembly import inputs
from abcrown_graft.cli.abcrown import build_parser
from abcrown_graft.config.config import Config
from abcrown_graft.config.experiments import find_config
from abcrown_graft.config.flags import values_from
from abcrown_graft.config.load import load_config

CHUNK = 200


def config_of(words: list[str]) -> Config:
    """The configuration that the words of an `abcrown` command line mean."""
    arguments = build_parser().parse_args(words)
    return load_config(find_config(arguments.config), values_from(arguments))


def main(count: int, path: Path, words: list[str]) -> None:
    """Writes the instances.

    Raises:
        SystemExit: the split has fewer correctly classified images.
    """
    config = config_of(words)
    model, data = inputs.configured_model(config), inputs.images(config)
    inputs.check_fit(data, model, config)
    indices: list[int] = []
    outputs: list[Tensor] = []
    for start in range(0, len(data), CHUNK):
        part = slice(start, min(start + CHUNK, len(data)))
        with torch.no_grad():
            found = model.module(data.images[part])
        correct = (found.argmax(1) == data.labels[part]).nonzero().flatten()
        indices += (start + correct).tolist()
        outputs.append(found[correct])
        if len(indices) >= count:
            break
    if len(indices) < count:
        raise SystemExit(f"{len(indices)} images of {data.name} are classified correctly, fewer than {count}")
    chosen = indices[:count]
    np.savez(
        path,
        images=data.images[chosen].numpy(),
        labels=data.labels[chosen].numpy(),
        outputs=torch.cat(outputs)[:count].numpy(),
        indices=np.array(chosen),
        mean=_per_channel(config["data.mean"]),
        std=_per_channel(config["data.std"]),
    )


def _per_channel(value: float | list[float]) -> np.ndarray:
    return np.asarray(value, dtype=np.float32).reshape(-1, 1, 1)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
