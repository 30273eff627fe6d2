"""Finds α,β-CROWN and auto_LiRPA, which are on no package index, without importing anything of theirs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

from abcrown_graft.errors import EngineError
from abcrown_graft.files import Limit, read_bytes

GUIDE = "https://github.com/Verified-Intelligence/alpha-beta-CROWN#installation-and-setup"
OLDEST = "0.7"  # of both
FIXED_LP = "0.7.1"  # of auto_LiRPA: linear programs of a batch of subproblems are right
PACKAGES = ("complete_verifier", "abcrown")
# What `import abcrown` cannot do without, besides what this package requires itself (measured with release 0.7.0).
REQUIRED = (
    *("torchvision", "onnx", "onnx2pytorch", "onnxoptimizer", "onnxruntime", "skl2onnx", "gurobipy"),
    *("appdirs", "graphviz", "packaging", "pandas", "psutil", "sortedcontainers", "tqdm"),
)
_VERSION = re.compile(r"^\s*__version__\s*=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """One of the two programs.

    Attributes:
        folder: what its modules are imported from; None if it was not found.
        version: as its own file says, None if it says nothing.
        source: where the folder is known from, such as "ABCROWN_HOME"; empty if it was not found.
        wrong: whether an option or a variable names a folder that does not hold it.
    """

    folder: Path | None = None
    version: str | None = None
    source: str = ""
    wrong: bool = False


@dataclass(frozen=True)
class Installation:
    """Where α,β-CROWN and auto_LiRPA are, and what they lack.

    Attributes:
        verifier: α,β-CROWN's folder `complete_verifier`, or that of the installed package.
        lirpa: the folder that holds the package `auto_LiRPA`.
        missing: names of Python packages that α,β-CROWN needs and that cannot be imported here.
    """

    verifier: Part
    lirpa: Part
    missing: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether no option, variable or package points to α,β-CROWN."""
        return self.verifier == Part()

    @property
    def problems(self) -> list[str]:
        """What stands in the way of running it; empty if nothing does."""
        if self.verifier.folder is None:
            wrong = f"{self.verifier.source} holds no complete_verifier/abcrown.py" if self.verifier.wrong else ""
            return [wrong or "no α,β-CROWN found (general.abcrown_path, ABCROWN_HOME, an installed package)"]
        found = [*_problems("α,β-CROWN", self.verifier), *_problems("auto_LiRPA", self.lirpa)]
        if self.missing:
            found.append(f"Python packages that it needs are missing: {', '.join(self.missing)}")
        return found

    @property
    def warning(self) -> str | None:
        """What is known against the versions found."""
        if self.lirpa.version is None or not older(self.lirpa.version, FIXED_LP):
            return None
        return f"auto_LiRPA {self.lirpa.version} is older than {FIXED_LP}: linear programs are refused"

    def require(self) -> Installation:
        """The installation itself, if it can be run.

        Raises:
            EngineError: it cannot; one message says all that is missing, and where its installation guide is.
        """
        if self.problems:
            raise EngineError(f"{'; '.join(self.problems)}; its installation guide: {GUIDE}")
        return self


def search(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Installation:
    """Looks for both programs; the first place that is named counts, right or wrong.

    α,β-CROWN: `path` (`general.abcrown_path`), the variable ABCROWN_HOME, an installed package. auto_LiRPA:
    AUTO_LIRPA_HOME, the copy that belongs to the α,β-CROWN found, an installed package.
    """
    verifier = _find_verifier(path, environment)
    if verifier.folder is None:
        return Installation(verifier, Part())
    missing = tuple(name for name in REQUIRED if _package_folder(name) is None)
    return Installation(verifier, _find_lirpa(verifier.folder, environment), missing)


def older(version: str, than: str) -> bool:
    """Whether one version comes before another, by their leading numbers."""
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> tuple[int, ...]:
    leading = takewhile(lambda letter: letter.isdecimal() or letter == ".", version)
    return tuple(int(part) for part in "".join(leading).split(".") if part)


def _problems(name: str, part: Part) -> Iterator[str]:
    if part.wrong:
        yield f"{part.source} holds no {name}"
    elif part.folder is None:
        yield f"no {name} found (AUTO_LIRPA_HOME, α,β-CROWN's submodule, an installed package)"
    elif part.version is None or older(part.version, OLDEST):
        yield f"{name} {part.version or 'of unknown version'} in {part.folder} is older than {OLDEST}"


def _find_verifier(path: Path | None, environment: Mapping[str, str]) -> Part:
    named = (("general.abcrown_path", path), ("ABCROWN_HOME", environment.get("ABCROWN_HOME")))
    for source, place in named:
        if place:
            return _verifier_at(Path(place).expanduser(), f"{source} {place}")
    for name in PACKAGES:
        folder = _package_folder(name)
        if folder is not None and _is_verifier(folder):
            return _part(folder, folder / "__init__.py", f"installed package {name}")
    return Part()


def _verifier_at(place: Path, source: str) -> Part:
    for folder in (place / "complete_verifier", place):
        if _is_verifier(folder):
            return _part(folder, folder / "__init__.py", source)
    return Part(source=source, wrong=True)


def _is_verifier(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("abcrown.py", "arguments.py", "beta_CROWN_solver.py"))


def _find_lirpa(verifier: Path, environment: Mapping[str, str]) -> Part:
    home = environment.get("AUTO_LIRPA_HOME")
    if home:
        place, source = Path(home).expanduser(), f"AUTO_LIRPA_HOME {home}"
        folder = next((folder for folder in (place, place.parent) if _is_lirpa(folder, place)), None)
        return Part(source=source, wrong=True) if folder is None else _lirpa_part(folder, source)
    for folder in (verifier.parent / "auto_LiRPA", verifier):
        if _is_lirpa(folder):
            return _lirpa_part(folder, "α,β-CROWN's own copy")
    installed = _package_folder("auto_LiRPA")
    if installed is not None and _is_lirpa(installed.parent):
        return _lirpa_part(installed.parent, "installed package auto_LiRPA")
    return Part()


def _is_lirpa(folder: Path, at_or_below: Path | None = None) -> bool:
    """Whether `folder` holds the package; `at_or_below` is the folder that was named for it."""
    package = folder / "auto_LiRPA"
    named = at_or_below is None or at_or_below in (folder, package)
    return named and (package / "bound_general.py").is_file()


def _lirpa_part(folder: Path, source: str) -> Part:
    return _part(folder, folder / "auto_LiRPA" / "__init__.py", source)


def _part(folder: Path, version_file: Path, source: str) -> Part:
    limit = Limit(2**26, "which no source file is")
    text = read_bytes(version_file, limit).decode("utf-8", "replace") if version_file.is_file() else ""
    version = _VERSION.search(text)
    return Part(folder.resolve(), version[1] if version else None, source)


def _package_folder(name: str) -> Path | None:
    """The folder of an importable top-level package; that of its file for a module. Nothing is imported."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    return Path(places[0] if places else spec.origin or ".")
