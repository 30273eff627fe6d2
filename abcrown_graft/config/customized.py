"""`Customized("file.py", "function", value, key=value)`: a function of the user's own, named in a YAML file.

The text is parsed, never evaluated; its values are literals.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from abcrown_graft.errors import ConfigError
from abcrown_graft.registry import nearest

_FORM = 'Customized("file.py", "function", value, key=value)'
_START = re.compile(r"\s*Customized\b")


@dataclass(frozen=True)
class Customized:
    """A function and arguments for it.

    Attributes:
        source: file (`.py`, absolute or relative) or importable module.
        function: name of the function or class in it.
        args, kwargs: literals to call it with.
    """

    source: str
    function: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def load(self, folders: Sequence[Path]) -> Callable[..., Any]:
        """Imports the source and gives the function with its arguments filled in.

        Args:
            folders: where a relative file is looked for, in this order.

        Raises:
            ConfigError: the source is missing or fails to import, or has no such function.
        """
        module = self._import(folders)
        function = getattr(module, self.function, None)
        if not callable(function):
            guess = nearest(self.function, [name for name, value in vars(module).items() if callable(value)])
            hint = f"; did you mean {guess!r}?" if guess else ""
            raise ConfigError(f"{self.source}: there is no function {self.function!r}{hint}")
        return functools.partial(function, *self.args, **self.kwargs)

    def _import(self, folders: Sequence[Path]) -> ModuleType:
        file = self._find_file(folders)
        try:
            return importlib.import_module(self.source) if file is None else _import_file(file)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(f"{file or self.source}: cannot be imported ({reason})") from error

    def _find_file(self, folders: Sequence[Path]) -> Path | None:
        """The file meant, or None where `source` names a module."""
        is_file = self.source.endswith(".py") or "/" in self.source
        name = self.source if self.source.endswith(".py") else self.source + ".py"
        candidates = [Path(name)] if Path(name).is_absolute() else [Path(folder) / name for folder in folders]
        for candidate in candidates:
            if candidate.is_file():
                return candidate
        if is_file:
            looked = ", ".join(dict.fromkeys(str(candidate.parent) for candidate in candidates)) or "no folder"
            raise ConfigError(f"{self.source}: no such file; looked in {looked}")
        return None


def parse_customized(text: str) -> Customized | None:
    """The call that `text` spells, or None if it is no `Customized(...)` at all.

    Raises:
        ConfigError: it begins like one, but is malformed or has an argument that is not a literal.
    """
    if not _START.match(text):
        return None
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(f"{text!r} is malformed; expected {_FORM}") from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "Customized":
        raise ConfigError(f"{text!r} is malformed; expected {_FORM}")
    args = [_literal(node, text) for node in call.args]
    kwargs = {_keyword(keyword, text): _literal(keyword.value, text) for keyword in call.keywords}
    if len(args) < 2 or not all(isinstance(name, str) and name for name in args[:2]):
        raise ConfigError(f"{text!r} has to begin with a file and a function, both in quotes; expected {_FORM}")
    return Customized(args[0], args[1], tuple(args[2:]), kwargs)


def _keyword(keyword: ast.keyword, text: str) -> str:
    if keyword.arg is None:
        raise ConfigError(f"{text!r}: ** is not allowed; expected {_FORM}")
    return keyword.arg


def _literal(node: ast.expr, text: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (RecursionError, MemoryError):
        raise ConfigError(f"{text[:80]!r}... is nested too deeply; expected {_FORM}") from None
    except (ValueError, TypeError, SyntaxError):
        part = ast.unparse(node)
        raise ConfigError(f"{text!r}: {part!r} is not a literal; only numbers, texts, lists and the like") from None


def _import_file(file: Path) -> ModuleType:
    """Runs `file` as a module of its own name, anew at each call."""
    name = f"_customized_{file.stem}_{sha256(str(file.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"not a Python file: {file}")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
