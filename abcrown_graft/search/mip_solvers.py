"""Solvers of mixed-integer programs: Gurobi and HiGHS, asked for proofs rather than for optima.

Both run at their tightest tolerances, and both minimise among the solutions whose objective is not positive: that
there is none is the proof. On cores of MNIST's CNN-A at 0.2 (270 to 350 unstable neurons, 784 inputs, one thread,
25 s), this was faster than the alternatives:

* Gurobi, `Cutoff` at zero: proofs in 6.6, 8.9 and 4.3 s; without it, stopping at a positive bound (`BestBdStop`), in
  6.2, 19.1 and 6.7 s; with a row instead, in 7.9, 6.3 and 7.1 s; asked for any point of that row, with no objective,
  it proved none, though one counterexample took it 3 s instead of 16. Incumbents are judged as they come.
* HiGHS has neither cutoff nor stop in SciPy, so that it is a row: easy proofs take 0.2 to 2.3 s, which plain minimising
  does not finish in 25 s; without an objective they take 0.3 to 4 s. The first point found is
  judged at once; only if it is rejected does HiGHS look for the least.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, vstack

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.search.mip_program import Program
from abcrown_graft.verdict import Verdict

TOLERANCE = 1e-9
SMALLEST_COEFFICIENT = 1e-12
LATENESS = 1.0  # seconds that HiGHS goes on after its limit; measured, up to 1.8


@dataclass(frozen=True)
class Outcome:
    """A solver's answer.

    Attributes:
        verdict: `VERIFIED` if the minimum is positive, `FALSIFIED` if `accept` took a point, else why neither.
        nodes: of the solver's tree.
        bound: where that is open, a lower bound of the minimum; -infinity if the solver gave none.
    """

    verdict: Verdict
    nodes: int = 0
    bound: float = -np.inf


Accept = Callable[[np.ndarray], bool]
"""Told a solution v `(n,)`; whether that ends the search."""

Solver = Callable[[Program, float, int, Accept], Outcome]
"""From a program, the `time.perf_counter()` in seconds at which to stop, how many threads to use (0 leaves that to the
solver), and who judges solutions to what is found."""


class SolverUnavailableError(UnsupportedError):
    """A solver that is not installed, or whose licence does not admit the program."""


def solve_gurobi(program: Program, deadline: float, threads: int, accept: Accept) -> Outcome:
    """Minimises below zero until nothing is left, or a solution is accepted.

    Args:
        program, deadline, threads, accept: see `Solver`.

    Raises:
        SolverUnavailableError: without gurobipy, a licence, or one for as many variables and rows.
    """
    try:
        import gurobipy
    except ImportError as error:
        raise SolverUnavailableError("solver.mip.mip_solver: gurobi needs gurobipy; install it or say highs") from error
    try:
        env = gurobipy.Env(params={"OutputFlag": 0})
    except gurobipy.GurobiError as error:
        raise SolverUnavailableError(f"solver.mip.mip_solver: gurobi does not start ({error}); say highs") from error
    try:
        with env, _gurobi_model(gurobipy, env, program) as model:
            return _run_gurobi(gurobipy.GRB, model, deadline, threads, accept)
    except gurobipy.GurobiError as error:
        if error.errno == gurobipy.GRB.Error.OUT_OF_MEMORY:
            raise MemoryError("Gurobi ran out of memory") from error
        if error.errno != gurobipy.GRB.Error.SIZE_LIMIT_EXCEEDED:
            raise
        m, n = program.rows.shape
        raise SolverUnavailableError(
            f"solver.mip.mip_solver: gurobi's licence does not admit {n} variables and {m} rows; say highs or auto"
        ) from error


def _gurobi_model(gurobipy: Any, env: Any, program: Program) -> Any:
    model = gurobipy.Model(env=env)
    kinds = np.where(program.binary, gurobipy.GRB.BINARY, gurobipy.GRB.CONTINUOUS)
    v = model.addMVar(len(program.cost), lb=program.lower, ub=program.upper, obj=program.cost, vtype=kinds)
    model.ObjCon = program.offset
    for limit, sense in ((program.row_lower, ">"), (program.row_upper, "<")):
        given = np.isfinite(limit)
        model.addMConstr(program.rows[given], v, sense, limit[given])
    return model


def _run_gurobi(grb: Any, model: Any, deadline: float, threads: int, accept: Accept) -> Outcome:
    tolerances = dict.fromkeys(("FeasibilityTol", "IntFeasTol", "OptimalityTol"), TOLERANCE)
    settings = {"MIPGap": 0, "MIPGapAbs": 0, "IntegralityFocus": 1, "Cutoff": 0, "BestBdStop": 0}
    effort = {"Threads": threads, "TimeLimit": max(0.0, deadline - time.perf_counter())}
    for name, value in {**tolerances, **settings, **effort}.items():
        model.setParam(name, value)
    accepted, raised = _watched(grb, model, accept)
    if raised:
        raise raised[0]
    if model.Status == grb.INTERRUPTED and not accepted:
        raise KeyboardInterrupt
    nodes, timed_out = int(model.NodeCount), model.Status == grb.TIME_LIMIT
    told = model.Status in (grb.OPTIMAL, grb.USER_OBJ_LIMIT) or (model.IsMIP and (timed_out or accepted))
    bound = float(getattr(model, "ObjBound", -np.inf)) if told else -np.inf
    if accepted:
        return Outcome(Verdict.FALSIFIED, nodes, bound)
    if bound > 0 or model.Status in (grb.CUTOFF, grb.INFEASIBLE):
        return Outcome(Verdict.VERIFIED, nodes)
    return Outcome(Verdict.TIMEOUT if timed_out else Verdict.UNKNOWN, nodes, bound)


def _watched(grb: Any, model: Any, accept: Accept) -> tuple[bool, list[Exception]]:
    """Optimises; whether a solution was accepted, and what `accept` raised, which Gurobi would swallow."""
    raised: list[Exception] = []
    accepted: list[bool] = []

    def watch(model: Any, where: int) -> None:
        if where != grb.Callback.MIPSOL or accepted or raised:
            return
        try:
            if not accept(np.asarray(model.cbGetSolution(model.getVars()))):
                return
            accepted.append(True)
        except Exception as error:
            raised.append(error)
        model.terminate()

    model.optimize(watch)
    if not model.IsMIP and model.SolCount and not raised:
        accepted += [True] * accept(np.asarray(model.X))
    return bool(accepted), raised


def solve_highs(program: Program, deadline: float, threads: int, accept: Accept) -> Outcome:
    """Asks for a solution whose objective is not positive; if it is rejected, for the least.

    Args:
        program, deadline, threads, accept: see `Solver`.
    """
    first = _run_highs(program, deadline, threads, {"mip_max_improving_sols": 1})
    if first.x is None:
        return Outcome({1: Verdict.TIMEOUT, 2: Verdict.VERIFIED}.get(first.status, Verdict.UNKNOWN))
    if accept(first.x):
        return Outcome(Verdict.FALSIFIED, first.mip_node_count or 0)
    least = _run_highs(program, deadline, threads, {})
    nodes = sum(found.mip_node_count or 0 for found in (first, least))
    if least.x is None:
        return Outcome(Verdict.TIMEOUT if least.status == 1 else Verdict.UNKNOWN, nodes)
    bound = least.fun if least.mip_dual_bound is None else least.mip_dual_bound
    verdict = Verdict.TIMEOUT if least.status == 1 else Verdict.UNKNOWN
    return Outcome(Verdict.FALSIFIED if accept(least.x) else verdict, nodes, bound + program.offset)


def _run_highs(program: Program, deadline: float, threads: int, more: dict[str, Any]) -> Any:
    """SciPy's answer: `x` is None without a solution; `status` 0 solved, 1 out of time, 2 without any solution.

    Raises:
        OptimizeWarning: HiGHS does not know an option, tolerances among them.
    """
    from scipy.optimize import Bounds, LinearConstraint, OptimizeWarning, milp

    rows = vstack([program.rows, csr_array(program.cost[None])])
    least, most = np.append(program.row_lower, -np.inf), np.append(program.row_upper, -program.offset)
    names = ("mip_feasibility_tolerance", "primal_feasibility_tolerance", "dual_feasibility_tolerance")
    options = dict.fromkeys(names, TOLERANCE) | {"small_matrix_value": SMALLEST_COEFFICIENT, "parallel": threads != 1}
    left = max(0.0, deadline - time.perf_counter())
    options |= {"mip_rel_gap": 0.0, "mip_abs_gap": 0.0, "time_limit": left - min(LATENESS, left / 10), **more}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unrecognized options detected.*verbatim", RuntimeWarning)
        warnings.simplefilter("error", OptimizeWarning)
        return milp(
            program.cost,
            integrality=program.binary.astype(int),
            bounds=Bounds(program.lower, program.upper),
            constraints=LinearConstraint(rows, least, most),
            options=options,
        )
