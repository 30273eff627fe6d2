"""`abcrown-graft doctor`: what this installation has, and what each missing piece costs."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from abcrown_graft import __version__
from abcrown_graft.cli.errors import FAILED
from abcrown_graft.config.config import Config
from abcrown_graft.engines.abcrown.locate import GUIDE, Part, search

if TYPE_CHECKING:
    from rich.table import Table

FILE_WIDTH = 160  # columns of a table that goes into a file or a pipe
NEEDED = ("numpy", "yaml", "safetensors", "onnx", "sklearn")  # besides those that have rows of their own
FREE_VARIABLES = 2000  # what Gurobi's free licence admits


@dataclass(frozen=True)
class Row:
    """One piece.

    Attributes:
        piece: its name.
        found: version and place, or "missing".
        cost: what does not work without it, None if nothing is amiss.
        fatal: whether this package cannot work then.
    """

    piece: str
    found: str
    cost: str | None = None
    fatal: bool = False


def diagnose(config: Config) -> list[Row]:
    """The state of every piece."""
    return [*_base(), *_abcrown(config), *_solvers(), *_extras(), _data(config)]


def doctor(config: Config) -> int:
    """Prints the diagnosis; 1 if this package cannot work."""
    from rich.console import Console

    rows = diagnose(config)
    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(_table(rows))
    return FAILED if any(row.fatal for row in rows) else 0


def _table(rows: list[Row]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="abcrown-graft: what is here, and what is missing")
    for heading in ("piece", "found", "without it"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in (row.piece, row.found, row.cost or "")))
    return table


def _base() -> Iterator[Row]:
    yield Row("abcrown-graft", f"{__version__} in {Path(__file__).parents[1]}")
    yield Row("Python", f"{platform.python_version()} ({sys.executable})")
    yield _torch()
    missing = [name for name in NEEDED if _module(name) is None]
    if missing:
        yield Row("required packages", f"missing: {', '.join(missing)}", "nothing works; install this package", True)


def _torch() -> Row:
    torch = _module("torch")
    if torch is None:
        return Row("torch", "missing", "nothing works; install this package with its requirements", True)
    if torch.cuda.is_available():
        return Row("torch", f"{torch.__version__}, CUDA: {torch.cuda.get_device_name()}")
    return Row("torch", f"{torch.__version__}, no CUDA device", "everything runs on the CPU: --device cpu")


def _abcrown(config: Config) -> Iterator[Row]:
    found = search(config.path("general.abcrown_path"))
    cost = "--engine abcrown; the native engine verifies"
    problems = found.problems
    where = "" if found.verifier.folder is not None else f"; installation guide: {GUIDE}"
    yield Row("α,β-CROWN", _part(found.verifier), f"{cost} ({'; '.join(problems)}{where})" if problems else None)
    if found.verifier.folder is None:
        return
    yield Row("auto_LiRPA", _part(found.lirpa), found.warning if found.lirpa.folder is not None else cost)


def _part(part: Part) -> str:
    if part.folder is None:
        return f"not in {part.source}" if part.wrong else "missing"
    return f"{part.version or 'unknown version'} in {part.folder} ({part.source})"


def _solvers() -> Iterator[Row]:
    yield _gurobi()
    scipy = _module("scipy")
    cost = "the linear programs of branch and bound, and MIP without Gurobi"
    yield Row("HiGHS", "missing", cost, True) if scipy is None else Row("HiGHS", f"in SciPy {scipy.__version__}")


def _gurobi() -> Row:
    cost = "MIP goes to HiGHS, which is slower; α,β-CROWN has no MIP"
    gurobipy = _module("gurobipy")
    if gurobipy is None:
        return Row("Gurobi", "missing", cost)
    version = ".".join(map(str, gurobipy.gurobi.version()))
    try:
        admits = _admits(gurobipy, FREE_VARIABLES + 1)
    except gurobipy.GurobiError as error:
        return Row("Gurobi", f"{version}, no licence ({error})", cost)
    if admits:
        return Row("Gurobi", f"{version}, full licence")
    limit = f"{version}, free licence: at most {FREE_VARIABLES} variables and rows"
    return Row("Gurobi", limit, "larger MIP goes to HiGHS; α,β-CROWN's fails")


def _admits(gurobipy: ModuleType, variables: int) -> bool:
    """Whether the licence admits so many variables."""
    with gurobipy.Env(params={"OutputFlag": 0}) as env, gurobipy.Model(env=env) as model:
        model.addMVar(variables)
        try:
            model.optimize()
        except gurobipy.GurobiError as error:
            if error.errno != gurobipy.GRB.Error.SIZE_LIMIT_EXCEEDED:
                raise
            return False
    return True


def _extras() -> Iterator[Row]:
    costs = {
        "onnxruntime": "ONNX files cannot be verified, and exported ones are not compared with their runtime",
        "matplotlib": "plots",
    }
    for name, cost in costs.items():
        module = _module(name)
        yield Row(name, "missing", cost) if module is None else Row(name, str(module.__version__))


def _data(config: Config) -> Row:
    folder = config.path("data.data_dir") or Path()
    if folder.is_dir():
        return Row("data", str(folder.resolve()))
    return Row("data", f"no folder {folder} (--data_dir)", "MNIST, CIFAR and SVHN; DIGITS needs no files")


def _module(name: str, load: Callable[[str], ModuleType] = importlib.import_module) -> ModuleType | None:
    """A module, or None if it cannot be imported, whatever the reason."""
    try:
        return load(name)
    except Exception:
        return None
