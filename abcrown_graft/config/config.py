"""The effective configuration: every option's value and where it came from. Immutable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from abcrown_graft.config.schema import SCHEMA, find_option
from abcrown_graft.config.settings import SettingError, Settings
from abcrown_graft.errors import ConfigError

S = TypeVar("S", bound=Settings)

DEFAULT = "default"
_CONFIG_PATH = "$CONFIG_PATH"


@dataclass(frozen=True)
class Config:
    """A value for every option of the schema; made by `load_config`.

    Two configurations are equal if their values are, wherever those came from.

    Attributes:
        values: by key; lists are tuples.
        origins: by key, for the values that are not defaults: "FILE:LINE", "flag --name", ...
        file: the YAML file it was read from, if any.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(compare=False)
    file: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        object.__setattr__(self, "origins", MappingProxyType(dict(self.origins)))

    def __getitem__(self, key: str) -> Any:
        """The value of `key`; KeyError if the schema lacks it."""
        return self.values[key]

    def settings(self, kind: type[S], section: str = "", **given: Any) -> S:
        """The settings of class `kind`, each field from the option that it declares or is linked to.

        Args:
            kind: a class of settings, such as `TrainSettings`.
            section: which option is meant where a field has one in several sections.
            given: fields that do not come from the configuration as they stand there.

        Raises:
            ConfigError: values that do not go together; the message begins with the origin of the one to change.
        """
        read = {name: self.values[key] for name, key in kind.keys(section).items() if name not in given}
        try:
            return kind(**read, **given)
        except SettingError as error:
            raise ConfigError(f"{self.origin(error.key)}: {error}") from None

    def origin(self, key: str) -> str:
        """Where the value of `key` came from: "default", "FILE:LINE", "flag --batch_size", ..."""
        return self.origins.get(find_option(key).key, DEFAULT)

    def is_default(self, key: str) -> bool:
        """Whether `key` has its default value, set or not."""
        return self.values[key] == find_option(key).default

    def replace(self, values: Mapping[str, Any], origin: str = "set by the program") -> Config:
        """A copy with other values for some keys, checked as those of a file.

        Raises:
            ConfigError: an unknown key or a value that its option does not take.
        """
        checked = {key: find_option(key, origin).check(value, origin) for key, value in values.items()}
        return Config({**self.values, **checked}, {**self.origins, **dict.fromkeys(checked, origin)}, self.file)

    def path(self, key: str, must_exist: bool = True) -> Path | None:
        """The path that `key` names, or None if it is not set or empty.

        `$CONFIG_PATH` stands for the folder of the configuration file and `~` for the home. An absolute path stays;
        a relative one starts from `general.root_path`, which is the current folder if not set.

        Args:
            key: an option whose value is a path.
            must_exist: True for files that are read: where there is no such file, but there is one relative to the
                folder of the configuration file, that one is meant. False for files to be written. Whether the file
                exists is for the caller to check.

        Raises:
            ConfigError: `$CONFIG_PATH` without a configuration file.
        """
        value = self.values[key]
        if not value:
            return None
        path = self._expand(key, value)
        if key != "general.root_path" and self.values["general.root_path"]:
            path = self._expand("general.root_path", self.values["general.root_path"]) / path
        if must_exist and self.file is not None and not path.exists():
            beside = self.file.absolute().parent / self._expand(key, value)
            return beside if beside.exists() else path
        return path

    def _expand(self, key: str, value: str) -> Path:
        if _CONFIG_PATH in value:
            if self.file is None:
                where = f"{self.origin(key)}: {key}"
                raise ConfigError(f"{where}: {_CONFIG_PATH} needs a configuration file; give --config or a full path")
            value = value.replace(_CONFIG_PATH, str(self.file.absolute().parent))
        return Path(value).expanduser()

    def to_yaml(self, only_changed: bool = False) -> str:
        """The configuration as YAML that `load_config` reads back to an equal one.

        Args:
            only_changed: leave out values that equal their defaults.
        """
        nested: dict[str, Any] = {}
        for key in SCHEMA:
            if only_changed and self.is_default(key):
                continue
            *groups, leaf = key.split(".")
            level = nested
            for group in groups:
                level = level.setdefault(group, {})
            level[leaf] = self.values[key]
        return yaml.dump(nested, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)

    def fingerprint(self, keys: Iterable[str]) -> str:
        """SHA-256 in hexadecimal of the values of `keys`, the same in every process and for every order of `keys`."""
        chosen = {key: self.values[key] for key in keys}
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


class _Dumper(yaml.SafeDumper):
    """Writes lists on one line and never refers back to an earlier value."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_tuple(dumper: _Dumper, value: tuple[Any, ...]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


_Dumper.add_representer(tuple, _represent_tuple)
