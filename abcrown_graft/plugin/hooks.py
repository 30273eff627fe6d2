"""Functions that a user's own α,β-CROWN configuration can name once this package is installed:

    model:
      name: Customized("abcrown_graft.plugin.hooks", "model", name="cnn_b", path="weights.safetensors")
    general:
      graph_optimizer: Customized("abcrown_graft.plugin.hooks", "graph_optimizer")

`model` gives the network that takes normalised images, as α,β-CROWN's data loaders provide them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import arguments
import torch
from auto_LiRPA import BoundedModule
from torch import nn

from abcrown_graft.engines.abcrown.branching import split_unstable_only
from abcrown_graft.engines.abcrown.nan import refuse_nan
from abcrown_graft.engines.abcrown.network import as_abcrown_network
from abcrown_graft.engines.abcrown.rows import skip_grafted_rows
from abcrown_graft.errors import ConfigError, ModelError
from abcrown_graft.models.load import ModelSource, load_model
from abcrown_graft.models.weights import find_file

_PATHS = ("path", "checkpoint", "mask")
_ARGUMENTS = (*_PATHS, "slope", "intercept", "input_shape")


def model(name: str, **source: Any) -> nn.Module:
    """A registered model definition, plain or grafted, as α,β-CROWN takes it.

    Files are looked up beside the configuration, in the working directory and, under `model_defs/`, in this package.

    Args:
        name: `model.name` of our configuration: a definition, or `Customized("file.py", ...)`.
        source: as in `abcrown_graft.models.load.ModelSource`: `path` or `checkpoint` for the weights, `mask` with
            `slope` and `intercept` to graft them, `input_shape` (without batch).

    Returns:
        The network without normalisation. Without `path` and `checkpoint`, α,β-CROWN loads `model.path` into it.

    Raises:
        ModelError: nothing gives it weights, or see `load_model`.
        MaskError, FileFormatError: see `load_model`.
        ConfigError: an argument that is none of these.
    """
    wrong = sorted(set(source) - set(_ARGUMENTS))
    if wrong:
        raise ConfigError(f"model.name: {name}: unknown argument {wrong[0]!r}; known: {', '.join(_ARGUMENTS)}")
    theirs = arguments.Config.all_args.get("model", {}).get("path")  # no configuration is parsed in a Python session
    given = source.get("path") or source.get("checkpoint") or theirs
    if given is None and not name.lstrip().startswith("Customized"):
        raise ModelError(f"model.name: {name} would have random weights; add path= with a checkpoint")
    folders = _folders()
    paths = {key: find_file(source[key], folders) for key in _PATHS if source.get(key) is not None}
    shape = {"input_shape": tuple(source["input_shape"])} if source.get("input_shape") is not None else {}
    with _single_precision():
        core = load_model(ModelSource(name, **{**source, **paths, **shape, "folders": folders})).core
    return as_abcrown_network(core)


def graph_optimizer(net: BoundedModule) -> None:
    """Prepares α,β-CROWN for a grafted network; it calls this once per instance. Its own default does nothing.

    Grafted neurons are not bounded as intermediate neurons (`rows`), and branching keeps to neurons that may be split
    (`branching`). A bound that is NaN ends the run (`nan`).
    """
    skip_grafted_rows(net)
    split_unstable_only()
    refuse_nan()


def _folders() -> tuple[Path, ...]:
    """The folder of the configuration that α,β-CROWN runs, if it was given one."""
    return (Path(arguments.Config.file).absolute().parent,) if arguments.Config.file else ()


@contextmanager
def _single_precision() -> Iterator[None]:
    """Networks are built and checked in float32; `general.double_fp` has changed torch's default by then."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
