"""The data sets of the machine, which tests of their official facts read; all other tests go without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NAME = "ABCROWN_GRAFT_DATA"
FOLDER = os.environ.get(NAME)  # when tests are collected; while they run, the variable is not set


def folder_with(entry: str) -> Path:
    """The folder of data sets, if it has this entry; otherwise the test is skipped."""
    if not FOLDER or not (Path(FOLDER) / entry).exists():
        pytest.skip(f"set {NAME} to a folder with {entry}")
    return Path(FOLDER)
