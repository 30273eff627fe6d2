"""Decides a core by mixed-integer programs: `complete_verifier: mip`. See `mip_program` for what is trusted."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from abcrown_graft.config.settings import Settings, linked
from abcrown_graft.core.core import Core
from abcrown_graft.errors import ConfigError
from abcrown_graft.search.bab import JudgePoints, SearchResult
from abcrown_graft.search.mip_program import Program, constraints, is_sane, least_value, used_inputs, with_objective
from abcrown_graft.search.mip_solvers import Outcome, SolverUnavailableError
from abcrown_graft.search.options import SOLVERS
from abcrown_graft.verdict import Verdict


@dataclass(frozen=True)
class MipSettings(Settings):
    """Solver and effort of `complete_verifier: mip`.

    Attributes:
        solver: a name in `SOLVERS`, or "auto": Gurobi while it is there and its licence admits the program, else HiGHS.
        timeout: seconds for the instance.
        threads: that the solver may use, 0 to leave it to the solver; HiGHS tells only one from many.
    """

    solver: str = "auto"
    timeout: float = 360.0
    threads: int = linked("solver.mip.solver_threads", 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.solver != "auto" and self.solver not in SOLVERS:
            known = ", ".join(("auto", *SOLVERS.names()))
            raise ConfigError(f"solver.mip.mip_solver: {self.solver!r} is unknown; choose one of {known}")


def solve_mip(core: Core, settings: MipSettings, judge_points: JudgePoints | None = None) -> SearchResult:
    """Decides the instance that a core describes, one program per clause.

    Of a clause that is not proved, `lower_bound` is what the solver tells, or else follows from the variables' bounds;
    `visited` counts the nodes of the solvers' trees that they tell (HiGHS none of a proof).

    Args:
        core: in float64, from rigorous bounds.
        settings: solver and effort.
        judge_points: told every solution that the solver comes upon; None skips that.

    Raises:
        SolverUnavailableError: the solver asked for is not there, or its licence does not admit the program.
    """
    return _Run(core.to("cpu", torch.float64), settings, judge_points).run()


class _Run:
    def __init__(self, core: Core, settings: MipSettings, judge_points: JudgePoints | None) -> None:
        self.core, self.threads, self.judge_points = core, settings.threads, judge_points
        self.deadline = time.perf_counter() + settings.timeout
        self.solvers = ("gurobi", "highs") if settings.solver == "auto" else (settings.solver,)
        self.used = used_inputs(core)
        self.counterexample: Tensor | None = None

    def run(self) -> SearchResult:
        if not is_sane(self.core):
            return SearchResult(Verdict.UNKNOWN, 0, -float("inf"))
        found = SearchResult(Verdict.VERIFIED)
        if not len(self.core.clause):
            return found
        base = constraints(self.core, self.used)
        for clause in self.core.clause.unique():
            outcome = self._solve(with_objective(self.core, base, self.used, self.core.clause == clause))
            found.visited += outcome.nodes
            if outcome.verdict is Verdict.VERIFIED:
                continue
            found.lower_bound = min(found.lower_bound, outcome.bound)
            if outcome.verdict is Verdict.FALSIFIED or found.verdict is not Verdict.TIMEOUT:
                found.verdict = outcome.verdict
            if outcome.verdict is Verdict.FALSIFIED:
                break
        found.counterexample = self.counterexample
        return found

    def _solve(self, program: Program) -> Outcome:
        least = least_value(program)
        if time.perf_counter() >= self.deadline:
            return Outcome(Verdict.TIMEOUT, bound=least)
        try:
            found = SOLVERS[self.solvers[0]](program, self.deadline, self.threads, self._accept)
        except SolverUnavailableError:
            if len(self.solvers) == 1:
                raise
            self.solvers = self.solvers[1:]
            return self._solve(program)
        return replace(found, bound=max(least, found.bound))

    def _accept(self, solution: np.ndarray) -> bool:
        if self.judge_points is None:
            return False
        point = (self.core.lower + self.core.upper) / 2
        point[self.used] = torch.as_tensor(solution[: int(self.used.sum())]).to(point)
        point = torch.minimum(torch.maximum(point, self.core.lower), self.core.upper)
        self.counterexample = self.judge_points(point.unsqueeze(0))
        return self.counterexample is not None
