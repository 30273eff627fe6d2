"""Configuration from defaults, environment, a YAML file and flags, each taking precedence over the one before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA, find_option
from abcrown_graft.config.yaml_file import read_entries


def load_config(path: str | Path | None, flags: Mapping[str, Any] = MappingProxyType({})) -> Config:
    """The effective configuration.

    Args:
        path: YAML file, None for none.
        flags: values by key, as `values_from` gives them.

    Raises:
        ConfigError: the file or a flag is wrong; the message names the file and line, or the flag.
    """
    values = {key: option.default for key, option in SCHEMA.items()}
    origins: dict[str, str] = {}
    _take_environment(values, origins)
    file = None if path is None else Path(path)
    for entry in read_entries(file) if file is not None else ():
        values[entry.key] = SCHEMA[entry.key].check(entry.value, entry.where)
        origins[entry.key] = entry.where
    for key, value in flags.items():
        option = find_option(key)
        origins[key] = f"flag {option.flag}"
        values[key] = option.check(value, origins[key])
    return Config(values, origins, file)


def _take_environment(values: dict[str, Any], origins: dict[str, str]) -> None:
    for key, option in SCHEMA.items():
        value = os.environ.get(option.environment, "") if option.environment else ""
        if value:
            origins[key] = f"environment variable {option.environment}"
            values[key] = option.check(value, origins[key])
