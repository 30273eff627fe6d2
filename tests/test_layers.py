"""Imports go one way: a package imports from the ones that the table allows, and no modules form a cycle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from configparser import ConfigParser
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import abcrown_graft

ROOT = Path(abcrown_graft.__file__).parent
GROUND = frozenset({"__init__", "errors", "files", "lock", "registry", "verdict"})

# What each package may import besides the ground, itself, and what these may import.
MAY_IMPORT: dict[str, set[str]] = {
    "config": set(),
    "geometry": set(),
    "nn": set(),
    "network": {"nn", "geometry"},
    "bounds": {"network"},
    "core": {"bounds"},
    "search": {"core", "config"},
    "attack": {"network", "config"},
    "training": {"bounds", "nn", "config"},
    "masks": {"training"},
    "data": {"geometry", "config"},
    "models": {"masks", "config"},
    "formats": {"masks"},
    "verify": {"search", "attack", "formats"},
    "assembly": {"verify", "models", "data"},
    "engines": {"assembly"},
    "plugin": {"engines"},
    "report": {"assembly"},
    "pipeline": {"engines", "report"},
    "cli": {"pipeline"},
}


def module_name(path: Path) -> str:
    parts = [ROOT.name, *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports anywhere in it, also in functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def allowed(name: str) -> set[str]:
    """All packages below `name`."""
    below = set(MAY_IMPORT[name])
    for other in MAY_IMPORT[name]:
        below |= allowed(other)
    return below


def test_every_package_has_its_place_in_the_table() -> None:
    assert {package(module) for module in MODULES} - GROUND == set(MAY_IMPORT)


def test_packages_import_only_from_below() -> None:
    wrong = []
    for module, path in MODULES.items():
        own = package(module)
        for other in map(package, imported(path)):
            below = GROUND if own in GROUND else GROUND | allowed(own) | {own}
            if other not in below:
                wrong.append(f"{module} imports from {other}")
    assert not wrong


def test_no_module_imports_itself_through_others() -> None:
    edges = {module: set(imported(path)) - {module} for module, path in MODULES.items()}
    TopologicalSorter(edges).prepare()  # a cycle is a CycleError that names it


def test_the_table_has_no_cycle() -> None:
    TopologicalSorter(MAY_IMPORT).prepare()


def test_every_package_is_installed() -> None:
    """`setup.cfg` lists the packages, because some of them lie beside the library in a checkout."""
    setup = ROOT.parent / "setup.cfg"
    if not setup.is_file():
        pytest.skip("not a checkout")
    listed = ConfigParser()
    listed.read(setup, encoding="utf-8")
    here = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    beside = {f"{ROOT.name}.{name}" for name in ("exp_configs", "model_defs", "scripts")}
    assert set(listed["options"]["packages"].split()) == here | beside
