"""One option: its key in a YAML file, its flag, default, help and who implements it."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from abcrown_graft.config.kinds import BOOLEAN, Kind
from abcrown_graft.errors import ConfigError

ENGINES = frozenset({"native", "abcrown"})
ABCROWN = frozenset({"abcrown"})
NATIVE = frozenset({"native"})


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        key: dotted name, such as "solver.alpha-crown.lr_alpha".
        kind: the kind of its values; None is a value too where the default is None.
        default: value where nobody sets it.
        help: one sentence or two for `--help` and the documentation.
        flag: command-line flag; a boolean's flag takes no value and sets the opposite of the default.
        choices: the texts allowed, or None; a registry is asked for its names whenever a value is checked.
        engines: the engines that implement it, or the name of the one pipeline stage that reads it.
        supported: the values that the native engine implements, None for all.
        upstream: the values that α,β-CROWN implements, None for all.
        low, above, high, below: bounds of numbers and of a list's elements: value >= low, > above, <= high, < below.
        environment: variable that gives the value where neither YAML nor flags do.
    """

    key: str
    kind: Kind
    default: Any
    help: str
    flag: str | None = None
    choices: Collection[str] | None = None
    engines: frozenset[str] = ENGINES
    supported: Collection[Any] | None = None
    upstream: Collection[Any] | None = None
    low: float | None = None
    above: float | None = None
    high: float | None = None
    below: float | None = None
    environment: str | None = None

    @property
    def section(self) -> str:
        """First part of the key."""
        return self.key.split(".", 1)[0]

    @property
    def leaf(self) -> str:
        """Last part of the key."""
        return self.key.rsplit(".", 1)[1]

    @property
    def of_engine(self) -> bool:
        """Whether a verification engine reads it; otherwise a stage of the pipeline does."""
        return bool(self.engines & ENGINES)

    @property
    def passed_on(self) -> bool:
        """Whether only α,β-CROWN implements it."""
        return self.engines == ABCROWN

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return self.kind is BOOLEAN

    @property
    def expected(self) -> str:
        """What a value has to be, for messages."""
        if self.choices is not None:
            return f"one of {', '.join(self.choices)}"
        bounds = ((self.low, "at least"), (self.above, "above"), (self.high, "at most"), (self.below, "below"))
        limits = " and ".join(f"{words} {bound:g}" for bound, words in bounds if bound is not None)
        nothing = " or null" if self.default is None else ""
        return self.kind.expected + (f", {limits}" if limits else "") + nothing

    def check(self, value: Any, where: str) -> Any:
        """`value`, read from YAML or given by a program, as a value of this option.

        α,β-CROWN does not hold YAML values against its choices, and configurations in use rely on that; so the
        choices of options that are only passed on bind flags alone.

        Args:
            value: the value; lists become tuples, integers floats where the option is one.
            where: origin for the message, such as "FILE:LINE"; "" for none.

        Raises:
            ConfigError: wrong kind, not one of the choices, or out of bounds.
        """
        if value is None and self.default is None:
            return None
        return self._accept(self.kind.read, value, where, strict=not self.passed_on)

    def parse(self, words: bool | str | Sequence[str], where: str) -> Any:
        """The words after this option's flag as a value; errors as in `check`."""
        if isinstance(words, bool):
            return words
        return self._accept(self.kind.read_words, words, where, strict=True)

    def _accept(self, read: Callable[[Any], Any], value: Any, where: str, strict: bool) -> Any:
        try:
            result = read(value)
        except ValueError:
            raise self._refusal(value, where) from None
        elements = result if isinstance(result, tuple) else (result,)
        if strict and not all(self._is_choice(element) for element in elements):
            raise self._refusal(value, where)
        if not all(self._in_bounds(element) for element in elements):
            raise self._refusal(value, where)
        return result

    def _is_choice(self, value: Any) -> bool:
        if self.choices is None or value in self.choices:
            return True
        return "Customized" in self.choices and str(value).startswith("Customized(")

    def _in_bounds(self, value: Any) -> bool:
        if not isinstance(value, (int, float)):
            return True
        return (
            (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
        )

    def _refusal(self, value: Any, where: str) -> ConfigError:
        unquoted = "text" in self.kind.expected and isinstance(value, (int, float))
        hint = "; put quotes around it" if unquoted and self.choices is None else ""
        prefix = f"{where}: " if where else ""
        return ConfigError(f"{prefix}{self.key}: expected {self.expected}, got {show(value)}{hint}")


class DeclaresOptions:
    """Base of classes that declare options, which the schema collects."""

    @classmethod
    def options(cls) -> Iterator[Option]:
        """The options that the class and its bases declare."""
        return iter(())


def show(value: Any) -> str:
    """`value` on one line as YAML writes it, shortened where it is long."""
    words = {None: "nothing", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else reprlib.repr(value)
