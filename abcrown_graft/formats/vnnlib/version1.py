"""VNN-LIB 1.0: `declare-const` of `X_i` and `Y_j`, and `assert`.

Facts: Demarchi, Guidotti, Pulina, Tacchella, "Supporting Standardization of Neural Networks Verification with
VNN-LIB and CoCoNet" (FoMLAS 2023), and the files of the competition VNN-COMP, 2021 to 2025.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from abcrown_graft.errors import FileFormatError, UnsupportedError
from abcrown_graft.formats.vnnlib.expression import Expression, Group, Word, parse_expressions
from abcrown_graft.formats.vnnlib.formula import (
    And,
    Formula,
    Linear,
    Or,
    comparison,
    constant,
    negative,
    number,
    product,
    total,
    variable,
)
from abcrown_graft.formats.vnnlib.interface import Interface, TensorDeclaration

COMPARISONS = ("<=", ">=", "=", "<", ">", "distinct")

_NAME = re.compile(r"([XY])_(0|[1-9][0-9]{0,8})")


def parse_version1(text: str) -> tuple[Interface, Formula]:
    """The declarations of a text, and the conjunction of its assertions.

    Raises:
        FileFormatError: the text is not VNN-LIB 1.0; the message names the line.
        UnsupportedError: it is, but not of the part this package reads.
    """
    declared: dict[str, int] = {}
    assertions: list[Formula] = []
    for statement in parse_expressions(text):
        head, arguments = _call(statement)
        if head.text == "declare-const":
            _declare(declared, arguments, head.line)
        elif head.text == "assert":
            _expect(arguments, 1, head)
            assertions.append(_formula(arguments[0], declared))
        else:
            raise FileFormatError(f"line {head.line}: {head.text!r} is neither declare-const nor assert")
    interface = Interface("1.0", None, _tensor("X", declared), _tensor("Y", declared))
    return interface, And(tuple(assertions))


def _call(expression: Expression) -> tuple[Word, tuple[Expression, ...]]:
    """The word that an expression starts with, and what follows it."""
    if isinstance(expression, Word):
        raise FileFormatError(f"line {expression.line}: {expression.text!r} stands where an expression (...) belongs")
    if not expression.items or isinstance(expression.items[0], Group):
        raise FileFormatError(f"line {expression.line}: this expression starts with no word")
    return expression.items[0], expression.items[1:]


def _expect(arguments: tuple[Expression, ...], count: int, head: Word) -> None:
    if len(arguments) != count:
        raise FileFormatError(f"line {head.line}: {head.text!r} takes {count}, not {len(arguments)}, arguments")


# --- declarations -----------------------------------------------------------------------------------------------


def _declare(declared: dict[str, int], arguments: tuple[Expression, ...], line: int) -> None:
    """Notes the name and its line."""
    words = [word.text for word in arguments if isinstance(word, Word)]
    if len(arguments) != 2 or len(words) != 2:
        raise FileFormatError(f"line {line}: declare-const takes a name and a sort, as in (declare-const X_0 Real)")
    name, sort = words
    if not _NAME.fullmatch(name):
        raise FileFormatError(f"line {line}: {name!r} is declared, but only names like X_0 and Y_0 have a meaning")
    if sort != "Real":
        raise UnsupportedError(f"line {line}: {name} is declared {sort!r}; only Real is supported")
    if name in declared:
        raise FileFormatError(f"line {line}: {name} is declared again, first in line {declared[name]}")
    declared[name] = line


def _tensor(kind: str, declared: Iterable[str]) -> TensorDeclaration:
    """The declared inputs or outputs, which must be numbered without gaps."""
    found = {int(name[2:]) for name in declared if name[0] == kind}
    missing = next(i for i in range(len(found) + 1) if i not in found)
    if missing != len(found) or not found:
        raise FileFormatError(f"{kind}_{missing} is not declared; is the file complete?")
    return TensorDeclaration(kind, "real", (len(found),))


# --- assertions -------------------------------------------------------------------------------------------------


def _formula(expression: Expression, declared: dict[str, int]) -> Formula:
    head, arguments = _call(expression)
    if head.text in ("and", "or"):
        if not arguments:
            raise FileFormatError(f"line {head.line}: ({head.text}) without arguments")
        parts = tuple(_formula(argument, declared) for argument in arguments)
        return And(parts) if head.text == "and" else Or(parts)
    if head.text in COMPARISONS:
        _expect(arguments, 2, head)
        left, right = (_linear(argument, declared) for argument in arguments)
        return comparison(head.text, left, right, head.line)
    raise UnsupportedError(f"line {head.line}: {head.text!r} is not supported; known: and, or, <=, >=, =")


def _linear(expression: Expression, declared: dict[str, int]) -> Linear:
    if isinstance(expression, Word):
        return _leaf(expression, declared)
    head, arguments = _call(expression)
    if head.text not in ARITHMETIC:
        raise UnsupportedError(f"line {head.line}: {head.text!r} is not supported in a term; known: +, -, *")
    if not arguments:
        raise FileFormatError(f"line {head.line}: ({head.text}) without arguments")
    return ARITHMETIC[head.text]([_linear(argument, declared) for argument in arguments], head.line)


def _leaf(word: Word, declared: dict[str, int]) -> Linear:
    """A variable or a number."""
    if word.text in declared:
        return variable(word.text[0], int(word.text[2:]))
    value = number(word.text, word.line)
    if value is None:
        what = "not declared" if _NAME.fullmatch(word.text) else "neither a variable nor a number"
        raise FileFormatError(f"line {word.line}: {word.text[:40]!r} is {what}")
    return constant(value)


def _minus(terms: list[Linear], line: int) -> Linear:
    """`(- a)` is the negative, `(- a b c)` is a − b − c."""
    first, *rest = terms
    return total([first, *map(negative, rest)]) if rest else negative(first)


ARITHMETIC: dict[str, Callable[[list[Linear], int], Linear]] = {
    "+": lambda terms, line: total(terms),
    "-": _minus,
    "*": product,
}
