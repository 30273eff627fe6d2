"""Mixed-integer programs against the exact minimum, the branch and bound, and solutions that must not be lost."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sample_cores import KINDS, Instance, exact_minima, flat_points, instance
from scipy.optimize import linprog
from torch import Tensor, nn

from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.core.core import Core, evaluate_core
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.errors import ConfigError, UnsupportedError
from abcrown_graft.geometry.box import Box
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.trace import from_module
from abcrown_graft.search.bab import SearchSettings, search
from abcrown_graft.search.mip import MipSettings, solve_mip
from abcrown_graft.search.mip_program import TAU, Program, constraints, least_value, used_inputs, with_objective
from abcrown_graft.search.mip_solvers import Outcome, SolverUnavailableError
from abcrown_graft.verdict import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = {name: MipSettings(name, 60) for name in ("gurobi", "highs")}
both = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
Check = Callable[[Tensor], "Tensor | None"]


def near(kind: str, seed: int, fraction: float, least: float) -> Instance:
    """An instance whose smallest margin is `least`, to within rounding."""
    found = instance(kind, seed, fraction)
    smallest = float(exact_minima(found.network, found.box, found.rows).min())
    return replace(found, core=shifted(found.core, least - smallest))


def shifted(core: Core, by: float) -> Core:
    return replace(core, out_constant=core.out_constant + by)


def checker(core: Core) -> Check:
    """Told points of the box, the first at which all literals of some clause of the core are at most zero."""

    def check(points: Tensor) -> Tensor | None:
        assert points.dtype == torch.float64 and points.shape[1:] == core.lower.shape
        assert ((points >= core.lower) & (points <= core.upper)).all()
        literals = evaluate_core(core, points.T)[0]
        wrong = [(literals[core.clause == clause] <= 0).all(0) for clause in core.clause.unique()]
        bad = torch.stack(wrong).any(0).nonzero().flatten()
        return points[bad[0]] if len(bad) else None

    return check


def into_box(core: Core, check: Check) -> Check:
    """For points in float32, which may lie outside."""
    return lambda points: check(torch.minimum(torch.maximum(points.double(), core.lower), core.upper))


def program_of(core: Core, clause: int = 0) -> Program:
    used = used_inputs(core)
    return with_objective(core, constraints(core, used), used, core.clause == clause)


@both
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0, 0.5, 1])
def test_verdicts_are_the_truth(settings, kind, fraction):
    for seed, least in itertools.product(range(2), (1e-5, -1e-5)):
        core = near(kind, seed, fraction, least).core
        result = solve_mip(core, settings, checker(core))
        assert result.verdict == (Verdict.VERIFIED if least > 0 else Verdict.FALSIFIED), (seed, least)
        assert (result.counterexample is None) == (least > 0)
        if least > 0:
            assert result.lower_bound == 0
        else:
            assert least_of(core) <= result.lower_bound <= -9e-6, "valid, no worse than intervals"


def least_of(core: Core) -> float:
    """What is known of the open clauses without any solver."""
    return min(least_value(program_of(core, int(clause))) for clause in core.clause)


def test_a_counterexample_is_one_of_the_network():
    for kind, seed in itertools.product(KINDS, (2, 5)):
        found = instance(kind, seed)
        shift = -float(exact_minima(found.network, found.box, found.rows).min()) - 0.01
        found = instance(kind, seed, 0.0, shift)
        for settings in SETTINGS.values():
            point = solve_mip(found.core, settings, checker(found.core)).counterexample
            assert point is not None
            margins = evaluate(found.network, point.view(1, *found.network.input.shape)) @ found.rows.T
            assert margins.min() <= 1e-12


@both
@pytest.mark.parametrize("kind", KINDS)
def test_the_minimum_is_exact(settings, kind):
    """Where every solution is rejected, the solver has to find the least: per clause, and of all."""
    for seed in (3, 7):
        found = instance(kind, seed)
        minima = exact_minima(found.network, found.box, found.rows)
        for k, least in enumerate(minima.tolist()):
            shift = -0.25 - least
            core = reduce_to_core(found.bounds, found.rows[k : k + 1])
            result = solve_mip(shifted(core, shift), settings, lambda points: None)
            assert result.verdict is Verdict.UNKNOWN
            assert result.lower_bound == pytest.approx(-0.25, abs=1e-6)
        result = solve_mip(shifted(found.core, -0.25 - float(minima.min())), settings)
        assert (result.verdict, result.lower_bound) == (Verdict.UNKNOWN, pytest.approx(-0.25, abs=1e-6))


def test_branch_and_bound_agrees():
    quick = SearchSettings(timeout=30)
    for kind, seed, least in itertools.product(KINDS, (3, 11), (0.01, -0.01)):
        core = near(kind, seed, 0, least).core
        verdict = search(core, quick, into_box(core, checker(core))).verdict
        assert verdict is not Verdict.UNKNOWN
        assert {solve_mip(core, settings, checker(core)).verdict for settings in SETTINGS.values()} == {verdict}


class TestClausesOfSeveralLiterals:
    @both
    @pytest.mark.parametrize("kind, seed", [("dense", 4), ("leaky", 7), ("residual", 2), ("conv", 12), ("dense", 12)])
    def test_the_largest_literal_counts(self, settings, kind, seed):
        core = replace(instance(kind, seed).core, clause=torch.tensor([0, 0]))
        least = least_of_largest(core)
        sampled = evaluate_core(core, flat_points(Box(core.lower[None], core.upper[None]), 3000))[0].amax(0).min()
        assert least <= float(sampled) + 1e-9
        for goal in (1e-5, -1e-5):
            moved = shifted(core, goal - least)
            expected = Verdict.VERIFIED if goal > 0 else Verdict.FALSIFIED
            assert solve_mip(moved, settings, checker(moved)).verdict is expected
        result = solve_mip(shifted(core, -0.25 - least), settings)
        assert (result.verdict, result.lower_bound) == (Verdict.UNKNOWN, pytest.approx(-0.25, abs=1e-6))

    @both
    def test_clauses_are_told_apart(self, settings):
        """The literals of clause 7 help each other, not the one of clause 3."""
        one = near("dense", 4, 0, 0.5).core
        every = replace(
            one,
            out_input=type(one.out_input).of(one.out_input.dense()[[0, 0, 1]]),
            out_layers=tuple(type(block).of(block.dense()[[0, 0, 1]]) for block in one.out_layers),
            out_constant=one.out_constant[[0, 0, 1]] + torch.tensor([-100.0, 0.0, 0.0], dtype=torch.float64),
            out_error=one.out_error[[0, 0, 1]],
        )
        verdicts = {}
        for clause in ([7, 7, 3], [7, 3, 3], [7, 3, 7]):
            core = replace(every, clause=torch.tensor(clause))
            verdicts[tuple(clause)] = solve_mip(core, settings, checker(core)).verdict
        assert list(verdicts.values()) == [Verdict.VERIFIED, Verdict.FALSIFIED, Verdict.VERIFIED]


def least_of_largest(core: Core) -> float:
    """The minimum over the box of the largest literal: the least over all activation patterns, by linear programs."""
    found = []
    for pattern in itertools.product((0.0, 1.0), repeat=sum(core.sizes)):
        active = torch.tensor(pattern, dtype=torch.float64).split(core.sizes)
        weights, constants = [], []
        for layer in core.layers:
            w, c = layer.from_input.dense(), layer.constant
            for j, block in layer.from_layers.items():
                w = w + (block.dense() * active[j]) @ weights[j]
                c = c + (block.dense() * active[j]) @ constants[j]
            weights.append(w)
            constants.append(c)
        out, at = core.out_input.dense(), core.out_constant
        for j, block in enumerate(core.out_layers):
            out, at = out + (block.dense() * active[j]) @ weights[j], at + (block.dense() * active[j]) @ constants[j]
        sign = 1 - 2 * torch.cat([core.lower[:0], *active]).numpy()
        z = np.concatenate([np.zeros((0, len(core.lower))), *(w.numpy() for w in weights)])
        offset = np.concatenate([np.zeros(0), *(c.numpy() for c in constants)])
        rows = np.vstack([np.c_[out.numpy(), -np.ones(len(at))], np.c_[sign[:, None] * z, np.zeros(len(z))]])
        limits = np.concatenate([-at.numpy(), -sign * offset])
        sides = [*zip(core.lower.tolist(), core.upper.tolist(), strict=True), (None, None)]
        solved = linprog(np.eye(len(sides))[-1], A_ub=rows, b_ub=limits, bounds=sides)
        found += [solved.fun] if solved.status == 0 else []
    return min(found)


class TestTheProgramContainsTheTruth:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("clause", [[0, 1], [0, 0]])
    def test_true_points_satisfy_all_rows_with_room_to_spare(self, kind, clause):
        """However the solver shifts limits and bounds by `TAU`: with every entry moved by that much, all rows hold."""
        for seed in (4, 9):
            found = instance(kind, seed)
            core = replace(found.core, clause=torch.tensor(clause))
            program = program_of(core)
            points = flat_points(found.box, 400)
            literals, values = evaluate_core(core, points)
            z = torch.cat([literals[:0], *values])
            parts = [points[used_inputs(core)], z.relu(), (z > 0).double()]
            largest = literals[core.clause == 0].amax(0).numpy()
            truth = torch.cat(parts).numpy()
            truth = truth if clause == [0, 1] else np.vstack([truth, largest])
            noise = TAU * np.random.default_rng(seed).choice([-1.0, 1.0], truth.shape)
            for moved in (truth, truth + noise):
                value = program.rows @ moved
                assert (value >= program.row_lower[:, None] + TAU / 2).all()
                assert (value <= program.row_upper[:, None] - TAU / 2).all()
            assert ((truth >= program.lower[:, None] - 1e-12) & (truth <= program.upper[:, None] + 1e-12)).all()
            claimed = program.cost @ (truth + noise) + program.offset
            assert (claimed < largest).all() and (claimed > largest - 1e-5).all()
            assert least_value(program) <= (program.cost @ truth).min() + program.offset + 1e-12

    @both
    def test_a_margin_within_the_widths_is_left_open(self, settings):
        for kind, sign in itertools.product(("dense", "conv"), (1, -1)):
            core = near(kind, 3, 0, sign * 1e-10).core
            assert solve_mip(core, settings, lambda points: None).verdict is Verdict.UNKNOWN

    @both
    def test_the_literals_may_be_off_by_their_error(self, settings):
        core = near("residual", 3, 0, 0.01).core
        for error, expected in ((0.0099, Verdict.VERIFIED), (0.0101, Verdict.UNKNOWN)):
            worse = replace(core, out_error=torch.full_like(core.out_error, error))
            assert solve_mip(worse, settings, checker(worse)).verdict is expected

    @both
    @pytest.mark.parametrize("position", [0, -1])
    def test_neurons_may_be_off_by_their_error(self, settings, position):
        core = near("dense", 3, 0, 0.01).core
        layer = core.layers[position]
        for error in (10.0, 1e-9):
            layers = list(core.layers)
            layers[position] = replace(layer, error=torch.full_like(layer.error, error))
            verdict = solve_mip(replace(core, layers=tuple(layers)), settings, lambda points: None).verdict
            assert verdict is (Verdict.UNKNOWN if error > 1 else Verdict.VERIFIED)


class TestJudges:
    @both
    def test_what_the_judge_returns_is_the_counterexample(self, settings):
        core = near("dense", 3, 0, -0.5).core
        other = torch.full_like(core.lower, 7.0)
        result = solve_mip(core, settings, lambda points: other)
        assert result.verdict is Verdict.FALSIFIED and result.counterexample is other

    @both
    def test_a_point_that_the_judge_rejects_is_no_counterexample(self, settings):
        told: list[Tensor] = []
        core = near("conv", 5, 0, -0.5).core
        result = solve_mip(core, settings, lambda points: told.append(points))
        assert (result.verdict, result.counterexample) == (Verdict.UNKNOWN, None)
        assert result.lower_bound == pytest.approx(-0.5, abs=1e-6)
        best = min(float(evaluate_core(core, points.T)[0].min()) for points in told)
        assert best == pytest.approx(-0.5, abs=1e-6), "it was shown the minimiser"

    @both
    def test_nothing_is_shown_of_what_is_proved(self, settings):
        core = near("dense", 3, 0, 0.5).core
        assert solve_mip(core, settings, lambda points: points[0]).verdict is Verdict.VERIFIED

    @both
    @pytest.mark.parametrize("fraction", [0, 1])
    def test_a_judge_that_fails_is_heard(self, settings, fraction):
        def failing(points: Tensor) -> Tensor | None:
            raise RuntimeError("no model")

        with pytest.raises(RuntimeError, match="no model"):
            solve_mip(near("dense", 3, fraction, -0.5).core, settings, failing)


def poisoned(core: Core, what: str, value: float) -> Core:
    """One number of the core replaced."""
    layer = core.layers[0]
    if hasattr(core, what):
        numbers = getattr(core, what).clone()
        numbers.view(-1)[0] = value
        return replace(core, **{what: numbers})
    numbers = layer.from_input.dense().clone() if what == "from_input" else getattr(layer, what[6:]).clone()
    numbers.view(-1)[0] = value
    changed = {"from_input": type(layer.from_input).of(numbers)} if what == "from_input" else {what[6:]: numbers}
    return replace(core, layers=(replace(layer, **changed), *core.layers[1:]))


class TestNothingIsClaimedOfNonsense:
    NUMBERS = ("lower", "upper", "out_constant", "out_error", "from_input", "layer_lower", "layer_upper",
               "layer_constant", "layer_error")  # fmt: skip

    @pytest.mark.parametrize("what", NUMBERS)
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_numbers_that_are_none(self, what, value):
        core = poisoned(near("dense", 3, 0, 0.5).core, what, value)
        result = solve_mip(core, SETTINGS["highs"], lambda points: None)
        assert (result.verdict, result.lower_bound) == (Verdict.UNKNOWN, -float("inf"))

    @pytest.mark.parametrize("what, value", [("lower", 1e3), ("layer_lower", 1e3), ("layer_upper", -1e3)])
    def test_empty_intervals(self, what, value):
        core = poisoned(near("dense", 3, 0, 0.5).core, what, value)
        assert solve_mip(core, SETTINGS["highs"]).verdict is Verdict.UNKNOWN

    @both
    def test_a_network_without_unstable_neurons(self, settings):
        for least, expected in ((0.01, Verdict.VERIFIED), (-0.01, Verdict.FALSIFIED)):
            core = near("dense", 3, 1, least).core
            assert core.layers == ()
            assert solve_mip(core, settings, checker(core)).verdict is expected

    @both
    def test_a_constant_network(self, settings):
        core = near("dense", 3, 1, 0.01).core
        flat = replace(core, out_input=type(core.out_input).of(torch.zeros_like(core.out_input.dense())))
        for constant, expected in ((0.01, Verdict.VERIFIED), (-0.01, Verdict.FALSIFIED)):
            same = replace(flat, out_constant=torch.full_like(flat.out_constant, constant))
            assert solve_mip(same, settings, checker(same)).verdict is expected

    def test_no_clause_is_a_proof(self):
        found = instance("dense", 3)
        assert solve_mip(reduce_to_core(found.bounds, found.rows[:0]), MipSettings()).verdict is Verdict.VERIFIED


def random_core(inputs: int, hidden: int, radius: float, shift: float, seed: int = 0) -> Core:
    """The core of a random dense network of two hidden layers and one literal."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = (nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        module = nn.Sequential(*layers).double().eval().requires_grad_(False)
        centre = torch.rand(1, inputs, dtype=torch.float64)
    box = Box(centre - radius, centre + radius)
    bounds = bound_network(from_module(module, (inputs,)), box, rigorous=True)
    return shifted(reduce_to_core(bounds, torch.ones(1, 1, dtype=torch.float64)), shift)


class TestLimits:
    @both
    def test_no_time(self, settings):
        core = near("dense", 3, 0, 0.01).core
        result = solve_mip(core, replace(settings, timeout=0))
        assert (result.verdict, result.visited) == (Verdict.TIMEOUT, 0)
        assert -float("inf") < result.lower_bound < 0

    @both
    @pytest.mark.parametrize("clauses", [1, 3])
    def test_the_clock_is_kept(self, settings, clauses):
        core = random_core(20, 60, 2.0, 0.3)
        core = replace(
            core,
            out_input=type(core.out_input).of(core.out_input.dense().repeat(clauses, 1)),
            out_layers=tuple(type(block).of(block.dense().repeat(clauses, 1)) for block in core.out_layers),
            out_constant=core.out_constant.repeat(clauses),
            out_error=core.out_error.repeat(clauses),
            clause=torch.arange(clauses),
        )
        result = solve_mip(core, replace(settings, timeout=0.5))
        assert result.verdict is Verdict.TIMEOUT, "to its end it would take minutes"
        assert -float("inf") < result.lower_bound < 0


def test_nodes_are_counted():
    core = random_core(6, 12, 1.0, 0.0, seed=1)
    result = solve_mip(core, SETTINGS["highs"], lambda points: None)
    hard = solve_mip(shifted(core, -result.lower_bound - 0.02), SETTINGS["gurobi"], lambda points: None)
    assert min(result.visited, hard.visited) > 1


class TestSolvers:
    def test_a_program_beyond_the_licence_is_for_highs(self):
        core = random_core(2001, 8, 1e-3, 1.0)
        size = len(program_of(core).cost)
        assert size > 2000
        assert solve_mip(core, MipSettings(timeout=30)).verdict is Verdict.VERIFIED
        try:
            verdict = solve_mip(core, SETTINGS["gurobi"]).verdict
        except SolverUnavailableError as error:
            assert isinstance(error, UnsupportedError) and "\n" not in str(error)
            assert f"licence does not admit {size} variables" in str(error)
        else:
            assert verdict is Verdict.VERIFIED, "this Gurobi has an unlimited licence"

    def test_without_gurobi(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "gurobipy", None)
        core = near("dense", 3, 0, 0.01).core
        assert solve_mip(core, MipSettings()).verdict is Verdict.VERIFIED
        with pytest.raises(SolverUnavailableError, match=r"solver\.mip\.mip_solver: gurobi needs gurobipy"):
            solve_mip(core, MipSettings("gurobi"))

    def test_a_solver_that_gives_up_proves_nothing(self, monkeypatch):
        from abcrown_graft.search import mip

        said = {"gurobi": lambda *_: Outcome(Verdict.UNKNOWN, 4, float("nan"))}
        monkeypatch.setattr(mip, "SOLVERS", said)
        result = solve_mip(near("dense", 3, 0, 0.01).core, MipSettings("auto"))
        assert (result.verdict, result.visited) == (Verdict.UNKNOWN, 8)
        assert result.lower_bound <= 0

    def test_one_clause_that_fails_is_enough(self, monkeypatch):
        from abcrown_graft.search import mip

        core = near("dense", 3, 0, 0.01).core
        for order in itertools.permutations([Verdict.VERIFIED, Verdict.UNKNOWN, Verdict.TIMEOUT], 2):
            answers = iter(order)
            monkeypatch.setattr(mip, "SOLVERS", {"gurobi": lambda *_, left=answers: Outcome(next(left))})
            expected = Verdict.TIMEOUT if Verdict.TIMEOUT in order else Verdict.UNKNOWN
            assert solve_mip(core, MipSettings("auto")).verdict is expected

    def test_wrong_settings(self):
        with pytest.raises(ConfigError, match=r"solver\.mip\.mip_solver: 'scip' is unknown.*auto, gurobi, highs"):
            MipSettings("scip")
        with pytest.raises(ConfigError, match=r"solver\.mip\.solver_threads: expected an integer, at least 0, got -1"):
            MipSettings(threads=-1)


def test_the_size_counts_inputs_that_matter():
    found = instance("residual", 2)
    core = found.core
    size = int(used_inputs(core).sum()) + 2 * sum(core.sizes)
    assert size == len(program_of(core).cost)
    joined = replace(core, clause=torch.tensor([0, 0]))
    assert size + 1 == len(program_of(joined).cost)
