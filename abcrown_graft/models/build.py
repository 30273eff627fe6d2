"""From `model.name` to an untrained module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from abcrown_graft.config.customized import parse_customized
from abcrown_graft.errors import AbcrownGraftError, ConfigError, ModelError
from abcrown_graft.models.definitions import definition_of, model_definition
from abcrown_graft.models.weights import package_folder


def build_model(name: str, folders: Sequence[Path] = ()) -> tuple[nn.Module, tuple[int, ...] | None]:
    """The module that `model.name` names, with random weights and without input normalisation.

    Args:
        name: a registered definition, or `Customized("file.py", "function", key=value)`: the function is called with
            the literals and returns the module.
        folders: where a relative file is looked up, before the working directory; the installed package comes last,
            so that `Customized("model_defs/cnn_b.py", "cnn_b")` works from any directory.

    Returns:
        The module, and the shape of one input if the definition states it (arguments may change it: then None).

    Raises:
        ModelError: the name is unknown, `Customized(...)` is malformed or names a file or function that does not
            exist, or the function fails or returns something else than a module.
    """
    try:
        build, input_shape = _found(name, folders)
    except ConfigError as error:
        raise ModelError(f"model.name: {error}") from error
    return _called(build, name), input_shape


def _found(name: str, folders: Sequence[Path]) -> tuple[Callable[..., object], tuple[int, ...] | None]:
    """The function that `name` stands for, ready to be called, and the input shape it states."""
    customized = parse_customized(name)
    if customized is None:
        found = model_definition(name)
        return found.build, found.input_shape
    build = customized.load([*folders, Path(), package_folder()])
    plain = None if customized.args or customized.kwargs else definition_of(getattr(build, "func", build))
    return build, plain.input_shape if plain else None


def _called(build: Callable[..., object], name: str) -> nn.Module:
    """The module that `build` makes; whatever a user's function does wrong is told in one line."""
    try:
        model = build()
    except AbcrownGraftError as error:
        raise ModelError(f"model.name: {name}: {error}") from error
    except (Exception, SystemExit) as error:
        reason = (str(error) or "no message").splitlines()[0]
        raise ModelError(f"model.name: {name}: the function raised {type(error).__name__}: {reason}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model.name: {name}: the function returned {type(model).__name__}, expected torch.nn.Module")
    return model
