"""The options of branch and bound, and the registries of its rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abcrown_graft.config.kinds import (
    BOOLEAN,
    FLOAT,
    INTEGER,
    TEXT,
)
from abcrown_graft.config.settings import Settings, engine_option
from abcrown_graft.registry import OneOf, Registry

if TYPE_CHECKING:
    from abcrown_graft.search.branching import Rule
    from abcrown_graft.search.input_branching import InputRule
    from abcrown_graft.search.mip_solvers import Solver

_NEURONS, _INPUTS = "abcrown_graft.search.branching", "abcrown_graft.search.input_branching"
_SOLVERS = "abcrown_graft.search.mip_solvers"
_UPSTREAM = tuple(  # branching methods of α,β-CROWN
    "babsr fsb kfsb kfsb-intercept-only random intercept naive sb nonlinear brute-force".split()
)

UPSTREAM_SOLVERS = ("gurobi", "scip", "highs")  # of α,β-CROWN

BRANCHING: Registry[Rule] = Registry("branching method")
"""Rules that choose the neuron to split."""
BRANCHING.declare("kfsb", f"{_NEURONS}:kfsb", help="neurons: the best of the best candidates of two scores")
BRANCHING.declare("babsr", f"{_NEURONS}:babsr", help="neurons: the best score")
BRANCHING.declare("random", f"{_NEURONS}:random", help="neurons: any")

INPUT_BRANCHING: Registry[InputRule] = Registry("input branching method")
"""Rules that choose the input to halve."""
INPUT_BRANCHING.declare("naive", f"{_INPUTS}:longest_side", help="inputs: the longest side")
INPUT_BRANCHING.declare("smear", f"{_INPUTS}:largest_influence", help="inputs: the largest derivative times the side")
INPUT_BRANCHING.declare("sb", f"{_INPUTS}:smart_branching", help="inputs: where the bounding line varies most")

SOLVERS: Registry[Solver] = Registry("MIP solver")
SOLVERS.declare("gurobi", f"{_SOLVERS}:solve_gurobi")
SOLVERS.declare("highs", f"{_SOLVERS}:solve_highs")


@dataclass(frozen=True, kw_only=True)
class AlphaCrownOptions(Settings):
    """The section `solver.alpha-crown`: optimisation of the first bounds."""

    iteration: int = engine_option(
        "solver.alpha-crown.iteration",
        INTEGER,
        100,
        "Steps of the optimisation of the first bounds (α-CROWN).",
        "--init_iteration",
        low=0,
    )
    lr_alpha: float = engine_option(
        "solver.alpha-crown.lr_alpha", FLOAT, 0.1, "Learning rate of α-CROWN.", "--lr_init_alpha", low=0
    )
    lr_decay: float = engine_option(
        "solver.alpha-crown.lr_decay", FLOAT, 0.98, "Factor on that rate after each step.", "--alpha_lr_decay", low=0
    )


@dataclass(frozen=True, kw_only=True)
class BetaCrownOptions(Settings):
    """The section `solver.beta-crown`: optimisation of subproblems."""

    iteration: int = engine_option(
        "solver.beta-crown.iteration",
        INTEGER,
        50,
        "Steps of the optimisation of each batch of subproblems (β-CROWN).",
        "--iteration",
        low=0,
    )
    lr_alpha: float = engine_option(
        "solver.beta-crown.lr_alpha", FLOAT, 0.01, "Learning rate of their slopes α.", "--lr_alpha", low=0
    )
    lr_beta: float = engine_option(
        "solver.beta-crown.lr_beta", FLOAT, 0.05, "Learning rate of their multipliers β.", "--lr_beta", low=0
    )
    lr_decay: float = engine_option(
        "solver.beta-crown.lr_decay", FLOAT, 0.98, "Factor on both rates after each step.", "--lr_decay", low=0
    )


@dataclass(frozen=True, kw_only=True)
class MipOptions(Settings):
    """The section `solver.mip`: mixed-integer programs."""

    mip_solver: str = engine_option(
        "solver.mip.mip_solver",
        TEXT,
        "gurobi",
        "Solver of mixed-integer programs; HiGHS steps in where Gurobi has no licence for the size.",
        "--mip_solver",
        choices=OneOf(UPSTREAM_SOLVERS, SOLVERS),
        supported=SOLVERS,
        upstream=UPSTREAM_SOLVERS,
    )
    solver_threads: int = engine_option(
        "solver.mip.solver_threads",
        INTEGER,
        1,
        "Threads of that solver; 0 leaves it to the solver.",
        "--mip_threads",
        low=0,
    )


@dataclass(frozen=True, kw_only=True)
class BranchingOptions(Settings):
    """The section `bab.branching`, but for its subsections."""

    method: str = engine_option(
        "bab.branching.method",
        TEXT,
        "kfsb",
        "Rule that chooses the neuron to split, or the input to halve.",
        "--branching_method",
        choices=OneOf(BRANCHING, INPUT_BRANCHING, _UPSTREAM),
        supported=OneOf(BRANCHING, INPUT_BRANCHING),
        upstream=_UPSTREAM,
    )
    candidates: int = engine_option(
        "bab.branching.candidates",
        INTEGER,
        3,
        "Candidates of each score that kfsb tries.",
        "--branching_candidates",
        low=1,
    )
    reduceop: str = engine_option(
        "bab.branching.reduceop",
        TEXT,
        "min",
        "How kfsb makes one number of the bounds of the two halves.",
        "--branching_reduceop",
        choices=("min", "max", "mean", "auto"),
        supported=("min", "max", "mean"),
    )


@dataclass(frozen=True, kw_only=True)
class InputSplitOptions(Settings):
    """The section `bab.branching.input_split`."""

    enable: bool = engine_option(
        "bab.branching.input_split.enable",
        BOOLEAN,
        False,
        "Split the inputs of every network instead of its neurons. Without it the native engine does so where there "
        "are few inputs and branching.method has its default, and takes turns with neurons where that takes long.",
        "--enable_input_split",
    )
    input_dim_threshold: int = engine_option(
        "bab.branching.input_split.input_dim_threshold",
        INTEGER,
        20,
        "Most inputs of a network whose inputs are split though that is not enabled; 0 is none. α,β-CROWN: with "
        "complete_verifier auto.",
        "--input_split_input_dim_threshold",
        low=0,
    )
    sb_margin_weight: float = engine_option(
        "bab.branching.input_split.sb_margin_weight",
        FLOAT,
        1.0,
        "Weight of the bounds in the scores of sb.",
        "--sb_margin_weight",
    )
    sb_sum: bool = engine_option(
        "bab.branching.input_split.sb_sum",
        BOOLEAN,
        False,
        "Let sb add the scores of all parts of the property, without their bounds.",
        "--sb_sum",
    )
    sb_coeff_thresh: float = engine_option(
        "bab.branching.input_split.sb_coeff_thresh",
        FLOAT,
        0.001,
        "What smaller coefficients count as in the scores of sb.",
        "--sb_coeff_thresh",
        low=0,
    )


@dataclass(frozen=True, kw_only=True)
class ClipInputOptions(Settings):
    """The section `bab.clip_n_verify.clip_input_domain`."""

    enabled: bool = engine_option(
        "bab.clip_n_verify.clip_input_domain.enabled",
        BOOLEAN,
        False,
        "Cut off what the bounding lines of a box of inputs prove; the native engine always does where it can.",
        "--enable_clip_input",
    )
