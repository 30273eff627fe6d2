"""The options of the cascade that decides an instance, and the registry of complete verifiers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abcrown_graft.config.kinds import (
    BOOLEAN,
    COUNT,
    FLOAT,
    INTEGER,
    PATH,
    TEXT,
)
from abcrown_graft.config.option import ABCROWN, NATIVE
from abcrown_graft.config.settings import Settings, engine_option
from abcrown_graft.registry import Registry

if TYPE_CHECKING:
    from abcrown_graft.verify.completion import Complete

SPLITS_INPUTS = "splits inputs"  # branch and bound may be over inputs
ONE_BY_ONE = "one by one"  # open instances are not searched side by side
UPSTREAM_COMPLETE = ("bab", "mip", "bab-refine", "skip", "auto", "Customized")  # complete verifiers of α,β-CROWN
_HERE = "abcrown_graft.verify.completion"

COMPLETE: Registry[Complete] = Registry("complete verifier")
COMPLETE.declare("bab", f"{_HERE}:branch_and_bound", help="branch and bound", properties=[SPLITS_INPUTS])
COMPLETE.declare("mip", f"{_HERE}:mixed_integer", help="a mixed-integer program", properties=[ONE_BY_ONE])
COMPLETE.declare(
    "auto",
    f"{_HERE}:automatic",
    help="that first where few neurons are unstable, then branch and bound",
    properties=[SPLITS_INPUTS, ONE_BY_ONE],
)
COMPLETE.declare("skip", f"{_HERE}:incomplete_only", help="leaves them unknown")


@dataclass(frozen=True, kw_only=True)
class SpecificationOptions(Settings):
    """The section `specification`: the property."""

    type: str = engine_option(
        "specification.type",
        TEXT,
        "lp",
        "Shape of the perturbation: an Lp ball, or (box, bound) the bounds data_min and data_max of the data set.",
        "--spec_type",
        choices=("lp", "box", "bound"),
        supported=("lp", "box", "bound"),
    )
    robustness_type: str = engine_option(
        "specification.robustness_type",
        TEXT,
        "verified-acc",
        "What must hold in the perturbation: the label beats every other class (verified-acc), the likeliest other "
        "class (runnerup) or the class given in the data set (specify-target); it does so at the image itself "
        "(clean-acc); or every output is positive (all-positive).",
        "--robustness_type",
        choices=("verified-acc", "runnerup", "clean-acc", "specify-target", "all-positive"),
    )
    norm: float = engine_option(
        "specification.norm", FLOAT, math.inf, "The p of the Lp ball.", "--norm", supported=(math.inf,), low=1
    )
    epsilon: float | None = engine_option(
        "specification.epsilon",
        FLOAT,
        None,
        "Radius of the perturbation in units of the pixels before normalisation, which lie in [0, 1].",
        "--epsilon",
        low=0,
    )
    vnnlib_path: str | None = engine_option(
        "specification.vnnlib_path",
        PATH,
        None,
        "Property as a VNN-LIB file, in place of images: this one instance is verified.",
        "--vnnlib_path",
    )
    vnnlib_path_prefix: str = engine_option(
        "specification.vnnlib_path_prefix",
        TEXT,
        "",
        "Put before the path of every VNN-LIB file.",
        "--vnnlib_path_prefix",
    )


@dataclass(frozen=True, kw_only=True)
class SolverOptions(Settings):
    """The section `solver`, but for its subsections: the first bounds."""

    batch_size: int = engine_option(
        "solver.batch_size",
        INTEGER,
        64,
        "Images, and subproblems of one image, bounded at once.",
        "--batch_size",
        low=1,
    )
    bound_prop_method: str = engine_option(
        "solver.bound_prop_method",
        TEXT,
        "alpha-crown",
        "How the first bounds of an instance are computed.",
        "--bound_prop_method",
        choices=(
            "alpha-crown",
            "crown",
            "forward",
            "forward+crown",
            "alpha-forward",
            "crown-ibp",
            "init-crown",
            "ibp",
            "dynamic-forward",
            "dynamic-forward+crown",
            "dynamic-forward+backward",
            "forward+backward",
        ),
        supported=("alpha-crown", "crown", "ibp"),
    )


@dataclass(frozen=True, kw_only=True)
class CrownOptions(Settings):
    """The section `solver.crown`."""

    batch_size: int = engine_option(
        "solver.crown.batch_size",
        INTEGER,
        1000000000,
        "Neurons bounded at once in one backward pass; the native engine chooses it itself.",
        "--crown_batch_size",
        engines=ABCROWN,
        low=1,
    )


@dataclass(frozen=True, kw_only=True)
class DebugOptions(Settings):
    """The section `debug`."""

    test_core: bool = engine_option(
        "debug.test_core",
        BOOLEAN,
        False,
        "Compare the unstable core of every searched instance with its network at random points, not only the first.",
        "--test_core",
        engines=NATIVE,
    )


@dataclass(frozen=True, kw_only=True)
class BabOptions(Settings):
    """The section `bab`, but for its subsections: what branch and bound may spend."""

    timeout: float = engine_option("bab.timeout", FLOAT, 360.0, "Seconds for one instance.", "--timeout", low=0)
    override_timeout: float | None = engine_option(
        "bab.override_timeout",
        FLOAT,
        None,
        "Seconds for one instance whatever else sets them.",
        "--override_timeout",
        low=0,
    )
    instances: int | None = engine_option(
        "bab.instances",
        INTEGER,
        None,
        "Open instances that are searched side by side, in common batches; by default 1 on a CPU and 16 on a GPU.",
        "--bab_instances",
        engines=NATIVE,
        low=1,
    )
    max_domains: float = engine_option(
        "bab.max_domains",
        COUNT,
        math.inf,
        "Subproblems visited before an instance is given up.",
        "--max_domains",
        low=0,
    )
