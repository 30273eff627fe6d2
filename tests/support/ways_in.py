"""Every way by which an image comes in: files of one image of label 0, and its pixels as fractions."""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.io import savemat

from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config

SHAPE = (1, 2, 3)
TORCH = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NUMPY = ("f2", "f4", "f8", ">f4", ">f8")
LONG = np.dtype(np.longdouble)
_CODE = """
import numpy as np, torch

def numpy_images():
    return dict(np.load({file!r}))

def torch_images():
    return {{key: torch.load({file!r} + "." + key) for key in ({keys})}}
"""
NET = """
import torch
from torch import nn

def model():
    last = nn.Linear({inputs}, 10)
    nn.init.zeros_(last.weight)
    last.bias.data = torch.eye(10)[0]
    return nn.Sequential(nn.Flatten(), last)
"""


@dataclass(frozen=True)
class Way:
    """One image of label 0 among ten classes.

    Attributes:
        dataset, folder: `data.dataset` and `data.data_dir`.
        shape: of the image.
        pixels: its exact ones, flat.
        index: its number.
    """

    dataset: str
    folder: Path
    shape: tuple[int, ...]
    pixels: list[Fraction]
    index: int = 0


def of_bytes(values: np.ndarray) -> list[Fraction]:
    return [Fraction(int(value), 255) for value in values.ravel()]


def some_bytes(*shape: int) -> np.ndarray:
    """Random bytes, the smallest and the largest among them."""
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    values.reshape(-1)[:2] = 0, 255
    return values


def some_floats() -> np.ndarray:
    """Of float64, `(1, *SHAPE)`: neither binary fractions nor decimals."""
    values = np.array([0.0, 1.0, 0.1, 1 / 3, 2 / 255, 0.7])
    return values.reshape(1, *SHAPE)


def digits(folder: Path) -> Way:
    from sklearn.datasets import load_digits

    from abcrown_graft.data import load_dataset

    data = load_dataset("DIGITS")
    index = data.labels.tolist().index(0)
    levels = (data.images[index] * 16).flatten().tolist()
    assert levels in load_digits().data.tolist()
    return Way("DIGITS", folder, (1, 8, 8), [Fraction(int(level), 16) for level in levels], index)


def mnist(folder: Path) -> Way:
    images, labels = some_bytes(1, 28, 28), np.zeros(1, np.uint8)
    for name, values in (("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", labels)):
        header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
        (folder / name).write_bytes(header + values.tobytes())
    return Way("MNIST", folder, (1, 28, 28), of_bytes(images))


def cifar_binary(folder: Path) -> Way:
    pixels = some_bytes(3, 32, 32)
    (folder / "test_batch.bin").write_bytes(bytes(1) + pixels.tobytes())
    return Way("CIFAR", folder, (3, 32, 32), of_bytes(pixels))


def cifar_python(folder: Path) -> Way:
    pixels = some_bytes(3, 32, 32)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": pixels.reshape(1, -1), "labels": [0]}, protocol=2))
    return Way("CIFAR", folder, (3, 32, 32), of_bytes(pixels))


def svhn(folder: Path) -> Way:
    pixels = some_bytes(32, 32, 3, 1)
    savemat(folder / "test_32x32.mat", {"X": pixels, "y": np.array([[10]], np.uint8)})
    return Way("SVHN", folder, (3, 32, 32), of_bytes(pixels.transpose(3, 2, 0, 1)))


def archive(dtype: str) -> Callable[[Path], Way]:
    """An `.npz` file of images of this type."""

    def write(folder: Path) -> Way:
        images, pixels = _numbers(dtype)
        np.savez(folder / "own.npz", x=images, y=np.zeros(1, np.int64), num_classes=10)
        return Way(str(folder / "own.npz"), folder, SHAPE, pixels)

    return write


def numpy_function(dtype: str) -> Callable[[Path], Way]:
    """A `Customized` function that returns NumPy arrays of this type."""

    def write(folder: Path) -> Way:
        images, pixels = _numbers(dtype)
        dataset = customized(folder, "numpy_images", X=images, labels=np.zeros(1, np.int64))
        return Way(dataset, folder, SHAPE, pixels)

    return write


def torch_function(dtype: torch.dtype) -> Callable[[Path], Way]:
    """A `Customized` function that returns tensors of this type."""

    def write(folder: Path) -> Way:
        if dtype == torch.uint8:
            images, pixels = torch.from_numpy(some_bytes(1, *SHAPE)), of_bytes(some_bytes(1, *SHAPE))
        else:
            images = torch.from_numpy(some_floats()).to(dtype)
            pixels = [Fraction(value) for value in images.flatten().tolist()]
        dataset = customized(folder, "torch_images", X=images, labels=torch.zeros(1, dtype=torch.int64))
        return Way(dataset, folder, SHAPE, pixels)

    return write


def customized(folder: Path, function: str, **entries: np.ndarray | torch.Tensor) -> str:
    """`data.dataset` of a function that returns these entries."""
    file = folder / "entries.npz"
    if function == "numpy_images":
        np.savez(file, **entries)
    else:
        for key, values in entries.items():
            torch.save(values, f"{file}.{key}")
    keys = "".join(f"{key!r}, " for key in entries)
    (folder / "data.py").write_text(_CODE.format(file=str(file), keys=keys), encoding="utf-8")
    return f'Customized("data.py", "{function}")'


def _numbers(dtype: str) -> tuple[np.ndarray, list[Fraction]]:
    if dtype == "u1":
        return some_bytes(1, *SHAPE), of_bytes(some_bytes(1, *SHAPE))
    images = some_floats().astype(dtype)
    return images, exact(images)


def exact(values: np.ndarray) -> list[Fraction]:
    """Floating-point numbers of any length as fractions."""
    return [Fraction(*value.as_integer_ratio()) for value in values.ravel()]


WAYS: dict[str, Callable[[Path], Way]] = {
    "DIGITS": digits,
    "MNIST": mnist,
    "CIFAR binary": cifar_binary,
    "CIFAR python": cifar_python,
    "SVHN": svhn,
    **{f"npz {dtype}": archive(dtype) for dtype in ("u1", *NUMPY)},
    **{f"numpy {dtype}": numpy_function(dtype) for dtype in ("u1", *NUMPY)},
    **{f"{dtype}": torch_function(dtype) for dtype in (torch.uint8, *TORCH)},
}


def configured(
    folder: Path, way: Way, net: str, radius: str | None, mean: Any = 0.0, std: Any = 1.0, outputs: int = 10
) -> Config:
    """A configuration that is read from YAML text."""
    (folder / "net.py").write_text(net, encoding="utf-8")
    values = {
        "general": {"device": "cpu", "complete_verifier": "skip", "results_file": str(folder / "out.txt")},
        "model": {"name": 'Customized("net.py", "model")', "input_shape": [-1, *way.shape]},
        "data": {"dataset": way.dataset, "data_dir": str(way.folder), "num_outputs": outputs, "mean": mean, "std": std}
        | {"start": way.index, "end": way.index + 1},
        "attack": {"pgd_order": "skip"},
        "bab": {"timeout": 20},
    }
    specification = "{type: box}" if radius is None else f"{{epsilon: {radius}}}"
    file = folder / "run.yaml"
    file.write_text(f"{yaml.safe_dump(values)}specification: {specification}\n", encoding="utf-8")
    return load_config(file)


def plain(way: Way) -> str:
    return NET.format(inputs=math.prod(way.shape))


def single(value: Fraction) -> Fraction:
    """The nearest float32."""
    return Fraction(float(np.float32(float(value))))
