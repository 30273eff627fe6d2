from __future__ import annotations

import pytest

from abcrown_graft.errors import FileFormatError
from abcrown_graft.formats.vnnlib.expression import MAX_DEPTH, Group, Word, parse_expressions


def test_groups_and_words_know_their_lines():
    text = "; head\n(a (b c) ; tail (\n  d)\n\n(e)\n"
    assert parse_expressions(text) == [
        Group((Word("a", 2), Group((Word("b", 2), Word("c", 2)), 2), Word("d", 3)), 2),
        Group((Word("e", 5),), 5),
    ]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_a_comment_ends_with_its_line_whatever_the_system(line_break):
    assert parse_expressions(line_break.join(["; (", "(a)"])) == [Group((Word("a", 2),), 2)]


@pytest.mark.parametrize("other", ["\x0b", "\x0c", "\x85", "\u2028"])
def test_only_line_breaks_end_a_comment(other):
    assert parse_expressions(f"; no {other}(code)") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(a\n(b)\n", r"line 1: this '\(' is never closed"),
        ("(a)\n(b\n(c", r"line 3: this '\(' is never closed"),
        ("(a)\n)", r"line 2: this '\)' closes nothing"),
        ("\n" + "(" * (MAX_DEPTH + 1), f"line 2: brackets are nested more than {MAX_DEPTH} deep"),
    ],
)
def test_wrong_brackets_are_refused_with_their_line(text, message):
    with pytest.raises(FileFormatError, match=message):
        parse_expressions(text)


def test_brackets_up_to_the_limit_are_read():
    assert len(parse_expressions("(" * MAX_DEPTH + ")" * MAX_DEPTH)) == 1
