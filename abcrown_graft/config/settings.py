"""Typed settings: frozen dataclasses whose fields declare options, with key, default, range and help said once.

    @dataclass(frozen=True, kw_only=True)
    class EvaluateOptions(Settings):
        limit: int | None = stage_option("evaluate.limit", INTEGER, None, "Number of test images used.", low=1)

The schema collects the options of these classes, `Config.settings` makes an instance from a configuration, and both it
and a program that makes one itself meet the same check of the same range.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from abcrown_graft.config.kinds import Kind
from abcrown_graft.config.option import ENGINES, DeclaresOptions, Option, show
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.errors import ConfigError

_OPTIONS, _KEY = "options", "key"


class SettingError(ConfigError):
    """A setting that does not go with the others.

    Attributes:
        key: of the option that has to change.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def engine_option(
    key: str,
    kind: Kind,
    default: Any,
    help: str,
    flag: str,
    *,
    choices: Collection[str] | None = None,
    engines: frozenset[str] = ENGINES,
    **rest: Any,
) -> Any:
    """A field that declares an option of a verification engine; `rest` as in `Option`."""
    return _field(Option(key, kind, default, help, flag, choices, engines, **rest))


def stage_option(
    key: str, kind: Kind, default: Any, help: str, *, flag: str | None = None, also: str | None = None, **rest: Any
) -> Any:
    """A field that declares an option of the stage that its section is named after.

    Args:
        key, kind, default, help: as in `Option`.
        flag: `--<section>_<name>` if not given.
        also: another section that has an option of this name too.
        rest: as in `Option`.
    """
    section, leaf = key.split(".", 1)
    sections = [section, *([also] if also else [])]
    return _field(
        *(
            Option(f"{name}.{leaf}", kind, default, help, flag or f"--{name}_{leaf}", engines=frozenset({name}), **rest)
            for name in sections
        )
    )


def linked(key: str, default: Any = dataclasses.MISSING) -> Any:
    """A field that takes the value, and the range, of an option that another class declares.

    Args:
        key: of the option.
        default: for programs that make the settings themselves; without one they have to give the value.
    """
    return dataclasses.field(default=default, metadata={_KEY: key})


def _field(*options: Option) -> Any:
    return dataclasses.field(default=options[0].default, metadata={_OPTIONS: options, _KEY: options[0].key})


@dataclass(frozen=True, kw_only=True)
class Settings(DeclaresOptions):
    """Base of settings; see the module.

    Raises:
        ConfigError: a value is of the wrong kind or out of range; the message names the key, the value and what is
            expected.
    """

    def __post_init__(self) -> None:
        own = {option.key: option for option in self.options()}
        for name, key in self.keys().items():
            option = own.get(key) or SCHEMA[key]
            object.__setattr__(self, name, option.check(getattr(self, name), ""))

    @classmethod
    def keys(cls, section: str = "") -> dict[str, str]:
        """The configuration's key of each field that has one, by the field's name.

        Args:
            section: where a field has an option in several sections, its own or this one.
        """
        named = {field.name: field.metadata[_KEY] for field in dataclasses.fields(cls) if _KEY in field.metadata}
        own = {option.key for option in cls.options()}
        here = {name: f"{section}.{key.split('.', 1)[1]}" for name, key in named.items()}
        return {name: here[name] if here[name] in own else key for name, key in named.items()}

    @classmethod
    def key(cls, name: str) -> str:
        """The configuration's key of a field."""
        return cls.keys()[name]

    @classmethod
    def options(cls) -> Iterator[Option]:
        """The options that the class and its bases declare."""
        for field in dataclasses.fields(cls):
            yield from field.metadata.get(_OPTIONS, ())

    def wrong(self, name: str, rule: str) -> SettingError:
        """The error that the field `name` breaks a rule, such as "must be below epochs"."""
        key = self.key(name)
        return SettingError(key, f"{key}: {show(getattr(self, name))}: {rule}")
