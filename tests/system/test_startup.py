"""Help, version and refusals of wrong words do not wait for heavy imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "sklearn", "rich", "onnx", "gurobipy", "matplotlib", "safetensors")
PROGRAM = """
import sys
from {module} import main
try:
    code = main({words!r})
except SystemExit as exit:
    code = exit.code
print("\\nexit", code, "imported", *sorted({{name.split(".")[0] for name in sys.modules}}))
"""


@pytest.mark.parametrize(
    ("module", "words", "code"),
    [
        ("abcrown_graft.cli.abcrown", ["--help"], 0),
        ("abcrown_graft.cli.abcrown", ["--help_all"], 0),
        ("abcrown_graft.cli.abcrown", ["--version"], 0),
        ("abcrown_graft.cli.abcrown", ["--config", "digits_graft", "--print_config"], 0),
        ("abcrown_graft.cli.abcrown", ["--config", "nowhere.yaml"], 2),
        ("abcrown_graft.cli.abcrown", ["--config", "digits_graft", "--engine", "abcrown"], 2),
        ("abcrown_graft.cli.tools", ["--help"], 0),
        ("abcrown_graft.cli.tools", ["--version"], 0),
        ("abcrown_graft.cli.tools", ["run", "--help"], 0),
        ("abcrown_graft.cli.tools", ["train", "--train_epoch", "3"], 2),
    ],
)
def test_nothing_heavy_is_imported(module: str, words: list[str], code: int) -> None:
    program = PROGRAM.format(module=module, words=words)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    last = found.stdout.splitlines()[-1].split()
    assert last[:3] == ["exit", str(code), "imported"], found
    imported = set(last[3:])
    assert "abcrown_graft" in imported and not imported.intersection(HEAVY)
