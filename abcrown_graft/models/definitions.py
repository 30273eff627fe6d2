"""Model definitions by name.

A definition is a function that makes an untrained `torch.nn.Module`. The files of `abcrown_graft.model_defs` file
theirs with the decorator `definition`; so may the modules of a user's package:

    @definition("tiny", input_shape=(1, 8, 8), num_classes=10)
    def tiny(width: int = 4) -> nn.Module: ...

Input normalisation is no part of a definition: the data set's mean and standard deviation go in front of it
(`abcrown_graft.nn.normalize.Normalize`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from abcrown_graft.registry import Registry

if TYPE_CHECKING:
    from torch import nn

B = TypeVar("B", bound="Callable[..., nn.Module]")


@dataclass(frozen=True)
class Definition:
    """A named architecture.

    Attributes:
        name: what `model.name` calls it.
        input_shape: of one input without the batch dimension, for `build()` without arguments.
        num_classes: number of outputs, for `build()` without arguments.
        build: makes the untrained module; every argument is a keyword with a default.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    build: Callable[..., nn.Module]


MODEL_DEFINITIONS: Registry[Definition] = Registry("model definition")


def definition(name: str, input_shape: tuple[int, ...], num_classes: int = 10) -> Callable[[B], B]:
    """A decorator that files its function in `MODEL_DEFINITIONS` and leaves it as it is.

    Only a module inside a package files its definitions. A file executed by its path, as `Customized("file.py", ...)`
    does, is in none: a user's copy of `model_defs/cnn_b.py` may keep its names, and the original may run twice.

    Raises:
        ValueError: a definition is filed under `name` already.
    """

    def file(build: B) -> B:
        entry = Definition(name, tuple(input_shape), num_classes, build)
        build.definition = entry  # type: ignore[attr-defined]
        if "." in build.__module__:
            MODEL_DEFINITIONS.register(name)(entry)
        return build

    return file


def definition_of(build: object) -> Definition | None:
    """What the decorator `definition` said about a function, or None if it is not decorated."""
    entry = getattr(build, "definition", None)
    return entry if isinstance(entry, Definition) else None


def model_definition(name: str) -> Definition:
    """The definition called `name`, those of `abcrown_graft.model_defs` included.

    Raises:
        ConfigError: the name is unknown; the message lists the known ones.
    """
    importlib.import_module("abcrown_graft.model_defs")
    return MODEL_DEFINITIONS[name]
