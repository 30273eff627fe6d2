"""Filing model definitions and finding them again."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from abcrown_graft.errors import ConfigError
from abcrown_graft.model_defs import cnn_b
from abcrown_graft.models.definitions import (
    MODEL_DEFINITIONS,
    definition_of,
    model_definition,
)


def executed(path: Path):
    """The module that executing a file makes, unknown to `import`."""
    spec = importlib.util.spec_from_file_location("executed", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_definition_is_found_by_name_and_its_function_stays_a_function():
    entry = model_definition("cnn_b")
    assert (entry.name, entry.input_shape, entry.num_classes) == ("cnn_b", (3, 32, 32), 10)
    assert entry.build is cnn_b.cnn_b and definition_of(cnn_b.cnn_b) is entry


def test_an_undecorated_function_has_no_definition():
    assert definition_of(len) is None


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known_ones():
    with pytest.raises(ConfigError, match=r"model definition 'cnn-b'; did you mean 'cnn_b'\? known: .*resnet_4b"):
        model_definition("cnn-b")


def test_two_definitions_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lines = (
        "from abcrown_graft.models.definitions import definition",
        "@definition('cnn_b', input_shape=(1,))",
        "def another(): ...",
    )
    (tmp_path / "nets_of_a_user").mkdir()
    (tmp_path / "nets_of_a_user" / "second.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="'cnn_b' is registered twice"):
        importlib.import_module("nets_of_a_user.second")


def test_a_copied_and_changed_file_may_keep_its_names(tmp_path: Path):
    original = model_definition("cnn_b")
    text = Path(cnn_b.__file__).read_text(encoding="utf-8")
    (tmp_path / "cnn_b.py").write_text(text.replace("hidden: int = 250", "hidden: int = 20"), encoding="utf-8")
    copied = executed(tmp_path / "cnn_b.py").cnn_b
    assert copied()[6].out_features == 20
    assert definition_of(copied).input_shape == (3, 32, 32)
    assert MODEL_DEFINITIONS["cnn_b"] is original


def test_finding_no_name_needs_no_torch():
    code = "import sys, abcrown_graft.models.definitions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
