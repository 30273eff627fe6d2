"""The options that only α,β-CROWN implements: key, kind, default, flag and choices of release 0.7, in `passed_on.json`.

They are known so that a configuration written for it loads, goes on to it unchanged, and is refused by name, not by
accident, where the native engine runs.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from abcrown_graft.config import kinds
from abcrown_graft.config.option import ABCROWN, Option


@cache
def passed_on() -> tuple[Option, ...]:
    """The options, in the order of the file. A row's kind is the name of one in `kinds`; choices bind flags alone."""
    text = Path(__file__).with_name("passed_on.json").read_text(encoding="utf-8")
    return tuple(_option(**row) for row in json.loads(text))


def _option(key: str, kind: str, default: Any, flag: str, choices: list[str] | None = None) -> Option:
    value = tuple(default) if isinstance(default, list) else default
    allowed = None if choices is None else tuple(choices)
    return Option(key, getattr(kinds, kind), value, "Passed on to α,β-CROWN.", flag, allowed, ABCROWN)
