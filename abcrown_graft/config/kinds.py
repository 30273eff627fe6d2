"""The kinds of value an option can have, and how a value of YAML or of a command line becomes one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_INFINITY = re.compile(r"[-+]?\.?inf", re.IGNORECASE)


@dataclass(frozen=True)
class Kind:
    """One kind of value.

    Attributes:
        name: for tables, such as "integer list".
        expected: for messages, such as "a list of integers".
        convert: turns one element read from YAML into its Python value, or raises ValueError.
        parse: turns one word of a command line into what `convert` takes.
        metavar: stands for a value in `--help`.
        scalar: a single value is allowed.
        listed: a list is allowed; it becomes a tuple.
    """

    name: str
    expected: str
    convert: Callable[[Any], Any]
    parse: Callable[[str], Any]
    metavar: str
    scalar: bool = True
    listed: bool = False

    def read(self, value: Any) -> Any:
        """`value`, as YAML or a program gives it, as this kind (lists as tuples); ValueError if it is not one."""
        if self.listed and isinstance(value, (list, tuple)):
            return tuple(self.convert(element) for element in value)
        if not self.scalar:
            raise ValueError(value)
        return self.convert(value)

    def read_words(self, words: str | Sequence[str]) -> Any:
        """The words given to a command-line flag as this kind; ValueError if they are not one."""
        if isinstance(words, str):
            return self.convert(self.parse(words))
        return tuple(self.convert(self.parse(word)) for word in words)


def _integer(value: Any) -> int:
    """An integer; also 1e4 and 1.0e+4, which YAML reads as text and as a float."""
    number = float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value
    if isinstance(number, float) and number.is_integer():
        return int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(value)
    return number


def _float(value: Any) -> float:
    """A float; also 1e-3 and inf, which YAML reads as text. Never NaN."""
    if isinstance(value, str) and (_EXPONENT.fullmatch(value) or _INFINITY.fullmatch(value)):
        return float(value.lower().replace(".inf", "inf"))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(value)
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(value) from None
    if math.isnan(number):
        raise ValueError(value)
    return number


def _finite(value: Any) -> float:
    """A float that is not infinite."""
    number = _float(value)
    if math.isinf(number):
        raise ValueError(value)
    return number


def _count(value: Any) -> int | float:
    """An integer or infinity."""
    try:
        return _integer(value)
    except ValueError:
        if _float(value) != math.inf:
            raise
        return math.inf


def _step(value: Any) -> float | str:
    """A float, also as text (α,β-CROWN declares its step sizes as text), or the word "auto"."""
    if value == "auto":
        return value
    return _float(float(value) if isinstance(value, str) else value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _number_word(word: str) -> int | float | str:
    """A word of a command line as YAML would have given it, were it a number."""
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return word


INTEGER = Kind("integer", "an integer", _integer, _number_word, "N")
COUNT = Kind("integer or .inf", "an integer or .inf", _count, _number_word, "N")
FLOAT = Kind("float", "a number", _float, _number_word, "X")
FINITE = Kind("float", "a finite number", _finite, _number_word, "X")
STEP = Kind('float or "auto"', 'a number or "auto"', _step, _number_word, "X")
TEXT = Kind("text", "text", _text, str, "TEXT")
PATH = Kind("path", "a path", _text, str, "PATH")
BOOLEAN = Kind("boolean", "true or false", _boolean, str, "")
INTEGERS = Kind("list of integers", "a list of integers, such as [1, 2]", _integer, _number_word, "N", False, True)
FLOATS = Kind("list of floats", "a list of numbers, such as [0.5, 1]", _float, _number_word, "X", False, True)
TEXTS = Kind("list of texts", "a list of texts", _text, str, "TEXT", False, True)
FLOAT_OR_FLOATS = Kind(
    "float or list of floats", "a number or a list of numbers", _float, _number_word, "X", listed=True
)
TEXT_OR_TEXTS = Kind("text or list of texts", "text or a list of texts", _text, str, "TEXT", listed=True)
