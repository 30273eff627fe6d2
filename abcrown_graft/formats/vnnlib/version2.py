"""VNN-LIB 2.0 through the syntax tree of the package `vnnlib`, which checks scopes and types.

The standard: https://www.vnnlib.org. The package is optional. Its conversions (`compat.transform`, `to_dnf`,
`to_linear_expr`) are not used: this module walks the tree and takes each number from its text, exactly.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from abcrown_graft.errors import FileFormatError, UnsupportedError
from abcrown_graft.formats.vnnlib.expression import parse_expressions
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

_NO_CODE = re.compile(r'"(?:[^"\\\n]|\\.)*"|;[^\n]*')  # names of ONNX nodes, and comments
_SQUARE = re.compile(r"\[[^\[\]]*\]?")
_INDICES = re.compile(r"\[\s*(?:[0-9]{1,9}\s*(?:,\s*[0-9]{1,9}\s*)*)?\]")

ELEMENT_TYPES = {"Real": "real", "F32": "float32", "F64": "float64"}

SYMBOLS = {
    "LessEqual": "<=",
    "GreaterEqual": ">=",
    "Equal": "=",
    "LessThan": "<",
    "GreaterThan": ">",
    "NotEqual": "!=",
}


def parse_version2(text: str) -> tuple[Interface, Formula]:
    """The declarations of a text, and the conjunction of its assertions.

    Raises:
        FileFormatError: the text is not VNN-LIB 2.0.
        UnsupportedError: it is, but not of the part this package reads; or the package `vnnlib` is missing.
    """
    _check(text)
    query = _parse(text)
    if len(query.networks) != 1:
        names = ", ".join(network.name for network in query.networks)
        raise UnsupportedError(f"several networks ({names}) are not supported, only one")
    network = query.networks[0]
    if network.hidden:
        raise UnsupportedError(f"the hidden node {network.hidden[0].name!r} is not supported, only input and output")
    source = _tensor("input", network.inputs)
    target = _tensor("output", network.outputs)
    formula = And(tuple(_formula(assertion.expr) for assertion in query.assertions))
    return Interface("2.0", network.name, source, target), formula


def _check(text: str) -> None:
    """What the package lets pass: it takes indices and lengths like -1 and 1.5 for other ones."""
    code = _NO_CODE.sub(lambda match: '""' if match[0][0] == '"' else "", text)
    parse_expressions(code)
    for match in _SQUARE.finditer(code):
        if not _INDICES.fullmatch(match[0]):
            line = code.count("\n", 0, match.start()) + 1
            raise FileFormatError(f"line {line}: {match[0][:40]!r} is no list of indices")


def _parse(text: str) -> Any:
    try:
        from vnnlib import VNNLibException, parse_query_string
    except ImportError:
        raise UnsupportedError("VNN-LIB 2.0 needs the package vnnlib, 1.0 or later: pip install 'vnnlib>=1'") from None
    try:
        return parse_query_string(text)
    except (VNNLibException, ValueError, IndexError, OverflowError, RuntimeError) as error:
        raise FileFormatError(_one_line(str(error))) from None


def _one_line(message: str) -> str:
    """The package's message, which may be a JSON object with a list of errors."""
    try:
        first = json.loads(message)["errors"][0]
        return f"line {first['line']}: {first['message']} at {first['offendingSymbol']!r}: {first['hint']}"
    except (ValueError, LookupError, TypeError):
        return f"not VNN-LIB 2.0 ({' '.join(message.split())})"


def _tensor(kind: str, definitions: Sequence[Any]) -> TensorDeclaration:
    if len(definitions) != 1:
        names = ", ".join(definition.name for definition in definitions)
        raise UnsupportedError(f"several {kind}s ({names}) are not supported, only one")
    (found,) = definitions
    if found.dtype.name not in ELEMENT_TYPES:
        known = ", ".join(ELEMENT_TYPES.values())
        raise UnsupportedError(f"the {kind} {found.name} has elements {found.dtype.name}; supported: {known}")
    shape = tuple(found.shape)
    if not all(0 < length < 2**31 for length in shape):
        raise FileFormatError(f"the {kind} {found.name} has no elements, or too many: {list(shape)}")
    return TensorDeclaration(found.name, ELEMENT_TYPES[found.dtype.name], shape, found.onnx_name)


def _formula(expression: Any) -> Formula:
    kind = type(expression).__name__
    if kind in ("And", "Or"):
        parts = tuple(_formula(argument) for argument in expression.args)
        return And(parts) if kind == "And" else Or(parts)
    if kind not in SYMBOLS:
        raise UnsupportedError(f"{kind} is not supported: {_shortened(expression)}")
    line = _line(expression)
    return comparison(SYMBOLS[kind], _linear(expression.lhs, line), _linear(expression.rhs, line), line)


def _line(expression: Any) -> int:
    """That of the first number or variable; the tree keeps no other."""
    while not hasattr(expression, "line"):
        expression = expression.children()[0]
    return expression.line


def _linear(expression: Any, line: int) -> Linear:
    kind = type(expression).__name__
    if kind == "Var":
        return variable({"Input": "X", "Output": "Y"}[expression.kind.name], _flat_index(expression))
    if kind in ("Float", "Int"):
        value = number(expression.lexeme, line)
        if value is None:
            raise FileFormatError(f"line {line}: {expression.lexeme[:40]!r} is not a number")
        return constant(value)
    if kind == "Negate":
        return negative(_linear(expression.expr, line))
    if kind == "Minus":
        rest = [negative(_linear(term, line)) for term in expression.rest]
        return total([_linear(expression.head, line), *rest])
    if kind == "Plus":
        return total([_linear(term, line) for term in expression.args])
    if kind == "Multiply":
        return product([_linear(term, line) for term in expression.args], line)
    raise UnsupportedError(f"line {line}: {kind} is not supported: {_shortened(expression)}")


def _flat_index(element: Any) -> int:
    """Row-major; the package has checked the number of indices and their range."""
    shape = tuple(element.shape)
    return sum(index * math.prod(shape[axis + 1 :]) for axis, index in enumerate(element.indices))


def _shortened(expression: Any) -> str:
    return str(expression)[:60]
