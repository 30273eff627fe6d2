"""The network of an ONNX file as the classifier of a data set's images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from abcrown_graft.assembly.instances import onnx_path, refuse_two_networks
from abcrown_graft.assembly.options import DataOptions, ModelOptions
from abcrown_graft.config.config import Config
from abcrown_graft.data import ImageData
from abcrown_graft.errors import ConfigError, ModelError
from abcrown_graft.formats.onnx.reader import read_onnx
from abcrown_graft.formats.onnx.runtime import OnnxruntimeModule, check_against_onnxruntime
from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.robustness import linf_box
from abcrown_graft.models.load import LoadedModel, identify
from abcrown_graft.network.input_shape import with_input_shape
from abcrown_graft.network.normalize import with_normalization
from abcrown_graft.nn.normalize import Normalize

IMAGES_COMPARED, RADIUS = 8, 0.1  # what onnxruntime is compared at: random points around the first images


def classifier(config: Config, data: ImageData) -> LoadedModel:
    """The model of `model.onnx_path` for these images.

    As in α,β-CROWN, `data.mean` and `data.std` normalise the images before the file's network gets them.

    Raises:
        ConfigError: a model definition, weights or a graft are named as well.
        FileFormatError, ModelError, UnsupportedError: the file cannot be used, see `read_onnx`, takes no such
            images, or onnxruntime gives other outputs.
    """
    refuse_two_networks(config)
    path = onnx_path(config)
    found = read_onnx(path)
    runtime = OnnxruntimeModule(found, path)
    shape = tuple(data.images.shape[1:])
    try:
        plain, stepwise = (with_input_shape(network, shape) for network in (found.network, found.executed))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    pixels = config.settings(DataOptions)
    normalize = Normalize(pixels.mean, pixels.std, shape[0] if len(shape) == 3 else 1)
    exact, executed = (with_normalization(network, normalize.mean, normalize.std) for network in (plain, stepwise))
    module = nn.Sequential(normalize, runtime).eval()
    near = [normalize(bound).reshape(-1, *found.network.input.shape) for bound in _around(data)]
    check_against_onnxruntime(found, path, Box(*near), n=1, module=runtime)
    single = exact.to(dtype=torch.float32)
    return LoadedModel(runtime, module, single, exact, executed, identify(plain.to(dtype=torch.float32)), shape)


def require_images(config: Config) -> None:
    """Raises ConfigError if an ONNX file is named, and neither images nor a property."""
    if config.settings(ModelOptions).onnx_path and not config.settings(DataOptions).dataset:
        where = f"{config.origin('model.onnx_path')}: model.onnx_path"
        raise ConfigError(f"{where}: nothing says what is to be proved; give --vnnlib_path FILE, or data.dataset")


def _around(data: ImageData) -> tuple[Tensor, Tensor]:
    """Bounds of boxes around the first images, in pixels."""
    box = linf_box(data.images[:IMAGES_COMPARED].double(), RADIUS)
    return box.lower, box.upper
