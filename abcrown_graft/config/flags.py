"""Command-line flags from options, on a parser whose every complaint is a one-line ConfigError."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from abcrown_graft.config.option import Option
from abcrown_graft.config.schema import SCHEMA, SECTIONS
from abcrown_graft.errors import ConfigError
from abcrown_graft.registry import about_names, nearest


class Parser(argparse.ArgumentParser):
    """An argument parser without abbreviations, usage dumps and exits: wrong input raises ConfigError.

    Its subparsers are of the same class.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._known: set[str] = set()
        self._hidden: list[tuple[argparse.Action, str]] = []
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """As in argparse; remembers the flag for suggestions."""
        self.remember(*(name for name in args if name.startswith("-")))
        return super().add_argument(*args, **kwargs)

    def remember(self, *flags: str) -> None:
        """Makes `flags` known to the suggestions for unknown ones."""
        self._known.update(flags)

    def hide(self, action: argparse.Action) -> None:
        """Leaves `action` out of `--help`; `--help_all` shows it."""
        if not self._hidden:
            self.add_argument(
                "--help_all", action=_HelpAll, hidden=self._hidden, help="show the rarer flags too, and exit"
            )
        self._hidden.append((action, action.help or ""))
        action.help = argparse.SUPPRESS

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError with argparse's complaint."""
        raise ConfigError(message.replace("argument -", "flag -", 1))

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parses; an unknown flag is an error here too, so that subcommands answer with their own nearest flag."""
        parsed, unknown = super().parse_known_args(args, namespace or argparse.Namespace())
        if unknown:
            raise self._unknown(unknown[0].split("=", 1)[0])
        return parsed, []

    def _unknown(self, word: str) -> ConfigError:
        if not word.startswith("-"):
            return ConfigError(f"unexpected argument {word!r}; see --help")
        guess = nearest(word, self._known)
        return ConfigError(f"unknown flag {word}; " + (f"did you mean {guess}?" if guess else "see --help"))


class _HelpAll(argparse.Action):
    """Prints the help with the hidden flags, and exits."""

    def __init__(self, hidden: list[tuple[argparse.Action, str]], **kwargs: Any) -> None:
        super().__init__(nargs=0, **{**kwargs, "default": argparse.SUPPRESS})
        self._hidden = hidden

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, flag: str | None = None
    ) -> NoReturn:
        for action, text in self._hidden:
            action.help = text
        parser.print_help()
        parser.exit()


def add_flags(parser: Parser, options: Iterable[Option]) -> None:
    """Adds the flags of `options`, grouped by section; `--help` leaves out those only passed on to α,β-CROWN."""
    groups: dict[str, Any] = {}
    for option in options:
        if option.flag is None:
            continue
        if option.section not in groups:
            groups[option.section] = parser.add_argument_group(f"{option.section} ({SECTIONS[option.section]})")
        action = groups[option.section].add_argument(option.flag, **_settings(option))
        parser.remember(option.flag)
        if option.passed_on:
            parser.hide(action)


def values_from(namespace: argparse.Namespace) -> dict[str, Any]:
    """The values of the flags that were given, by key.

    Raises:
        ConfigError: a value that its option does not take; names the flag.
    """
    given = vars(namespace)
    return {key: option.parse(given[key], f"flag {option.flag}") for key, option in SCHEMA.items() if key in given}


def _settings(option: Option) -> dict[str, Any]:
    """Arguments of argparse for `option`; words are kept as they are, for `values_from` to convert."""
    settings: dict[str, Any] = {"dest": option.key, "default": argparse.SUPPRESS, "help": _help(option)}
    if option.is_switch:
        return {**settings, "action": "store_const", "const": not option.default}
    settings["metavar"] = option.kind.metavar
    if option.kind.listed:
        settings["nargs"] = "*" if option.default == () else "+"
    return settings


def _help(option: Option) -> str:
    """The help text with choices and default; percent signs doubled as argparse wants them."""
    told = about_names(option.choices or ()).items()
    notes = [f"one of {', '.join(name + (f' ({help})' if help else '') for name, help in told)}"] if told else []
    if not option.is_switch and option.default not in (None, "", ()):
        default = option.default
        notes.append(f"default {list(default) if isinstance(default, tuple) else default}")
    if option.environment:
        notes.append(f"or ${option.environment}")
    return (option.help + (f" ({'; '.join(notes)})" if notes else "")).replace("%", "%%")
