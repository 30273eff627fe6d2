"""Typed configuration: one schema for YAML keys, flags, defaults, help and documentation."""

from __future__ import annotations

from abcrown_graft.config.config import Config
from abcrown_graft.config.engine import check_engine
from abcrown_graft.config.load import load_config
from abcrown_graft.config.option import Option
from abcrown_graft.config.schema import SCHEMA

__all__ = ["SCHEMA", "Config", "Option", "check_engine", "load_config"]
