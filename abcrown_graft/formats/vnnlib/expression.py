"""S-expressions with the lines they stand on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from abcrown_graft.errors import FileFormatError

MAX_DEPTH = 100  # nested brackets; competition files have four or five

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_TOKEN = re.compile(r"[()]|[^\s()]+")


class Word(NamedTuple):
    """Anything between blanks and brackets."""

    text: str
    line: int


class Group(NamedTuple):
    """What stands between one pair of brackets; `line` is that of the opening one."""

    items: tuple[Word | Group, ...]
    line: int


Expression = Word | Group


def tokens(text: str) -> Iterator[Word]:
    """Brackets and words; a semicolon starts a comment, which the line's end closes."""
    for number, line in enumerate(_LINE_BREAK.split(text), start=1):
        for token in _TOKEN.findall(line.partition(";")[0]):
            yield Word(token, number)


def parse_expressions(text: str) -> list[Expression]:
    """The expressions of a text, one after the other.

    Raises:
        FileFormatError: a bracket is not closed or not opened, or they are nested deeper than `MAX_DEPTH`.
    """
    expressions: list[Expression] = []
    items, opened = expressions, []
    for token in tokens(text):
        if token.text == "(":
            opened.append((items, token.line))
            items = []
            if len(opened) > MAX_DEPTH:
                raise FileFormatError(f"line {token.line}: brackets are nested more than {MAX_DEPTH} deep")
        elif token.text != ")":
            items.append(token)
        elif opened:
            outer, line = opened.pop()
            outer.append(Group(tuple(items), line))
            items = outer
        else:
            raise FileFormatError(f"line {token.line}: this ')' closes nothing")
    if opened:
        raise FileFormatError(f"line {opened[-1][1]}: this '(' is never closed; is the file complete?")
    return expressions
