"""What is to be proved of images and how hard to try, made from a configuration."""

from __future__ import annotations

import math
from dataclasses import replace

from abcrown_graft.assembly.inputs import epsilon
from abcrown_graft.assembly.instances import asks_for_properties
from abcrown_graft.assembly.options import GeneralOptions
from abcrown_graft.attack.options import AttackOptions
from abcrown_graft.attack.pgd import PGDSettings
from abcrown_graft.config.config import Config
from abcrown_graft.config.option import show
from abcrown_graft.data import ImageData
from abcrown_graft.errors import ConfigError, DataError
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.search.bab import SearchSettings
from abcrown_graft.search.branching import BranchingSettings
from abcrown_graft.search.input_branching import InputBranching
from abcrown_graft.search.input_split import InputSplit
from abcrown_graft.search.mip import MipSettings
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.search.options import (
    INPUT_BRANCHING,
    AlphaCrownOptions,
    BetaCrownOptions,
    BranchingOptions,
    ClipInputOptions,
    InputSplitOptions,
    MipOptions,
)
from abcrown_graft.verify.options import (
    COMPLETE,
    ONE_BY_ONE,
    SPLITS_INPUTS,
    BabOptions,
    DebugOptions,
    SolverOptions,
    SpecificationOptions,
)
from abcrown_graft.verify.problem import VerifySettings

TOGETHER_ON_GPU = 16  # instances: enough for full batches, and the matrices of so many cores fit into the memory
SB_OPTIONS = ("sb_margin_weight", "sb_coeff_thresh", "sb_sum")
_SPLIT, _CLIP = "bab.branching.input_split", "bab.clip_n_verify.clip_input_domain.enabled"
BOUND_METHODS = {"ibp": "interval", "crown": "crown", "alpha-crown": "crown"}


def attack_settings(config: Config) -> PGDSettings | None:
    """The section `attack`, None if it is skipped."""
    attack = config.settings(AttackOptions)
    if attack.pgd_order == "skip":
        return None
    return PGDSettings(
        steps=attack.pgd_steps,
        restarts=attack.pgd_restarts,
        alpha=None if attack.pgd_alpha == "auto" else float(attack.pgd_alpha),
        batch_size=PGDSettings.batch_size if config.is_default("attack.pgd_batch_size") else attack.pgd_batch_size,
        early_stop=attack.pgd_early_stop,
    )


def verify_settings(config: Config) -> VerifySettings:
    """How hard to try."""
    general, solver, bab = config.settings(GeneralOptions), config.settings(SolverOptions), config.settings(BabOptions)
    return VerifySettings(
        method=BOUND_METHODS[solver.bound_prop_method],
        incomplete=general.enable_incomplete_verification,
        attack=attack_settings(config),
        timeout=bab.timeout if bab.override_timeout is None else bab.override_timeout,
        batch_size=solver.batch_size,
        seed=general.seed,
        double=general.double_fp,
        search_together=_searched_together(config),
        search=search_settings(config),
        input_split=input_split(config),
        complete_verifier=general.complete_verifier,
        mip=mip_settings(config),
        test_core=config.settings(DebugOptions).test_core,
    )


def _searched_together(config: Config) -> int:
    chosen, general = config.settings(BabOptions).instances, config.settings(GeneralOptions)
    verifier = general.complete_verifier
    if verifier in COMPLETE.having(ONE_BY_ONE):
        if chosen not in (None, 1):
            where = f"{config.origin('bab.instances')}: bab.instances"
            raise ConfigError(f"{where}: {chosen}, but {verifier} solves its programs one by one; remove it")
        return 1
    if chosen is not None:
        return chosen
    return TOGETHER_ON_GPU if general.device == "cuda" else 1


def radius(config: Config) -> float | None:
    """`specification.epsilon` of a ball; None where the data set or VNN-LIB gives bounds."""
    if asks_for_properties(config):
        return None
    return epsilon(config) if config.settings(SpecificationOptions).type == "lp" else None


def specification(config: Config, data: ImageData) -> Robustness:
    """What is to be proved of the images of a data set.

    Raises:
        ConfigError: the radius of a ball is not set, or set though the images come with bounds.
        DataError: the data set lacks bounds or targets that are asked for, or has bounds that are not.
    """
    wanted = config.settings(SpecificationOptions)
    kind, shape = wanted.robustness_type, wanted.type
    where = f"{config.origin('specification.type')}: specification.type"
    if kind == "specify-target" and data.targets is None:
        place = f"{config.origin('specification.robustness_type')}: specification.robustness_type"
        raise DataError(f"{place}: specify-target, but {data.name} has no target_label")
    if shape == "lp":
        if data.lower is not None:
            raise DataError(f"{where}: lp, but {data.name} gives data_min and data_max; set it to box")
        return Robustness(epsilon(config), kind, data.targets, readings=data.readings)
    if data.lower is None:
        raise DataError(f"{where}: {shape}, but {data.name} gives no data_min and data_max")
    if wanted.epsilon is not None:
        place = f"{config.origin('specification.epsilon')}: specification.epsilon"
        raise ConfigError(f"{place}: set, but specification.type {shape} takes the data set's bounds; remove it")
    return Robustness(None, kind, data.targets, data.lower, data.upper, data.readings)


def mip_settings(config: Config) -> MipSettings:
    """The section `solver.mip`; HiGHS steps in where Gurobi's licence ends."""
    mip = config.settings(MipOptions)
    return MipSettings("auto" if mip.mip_solver == "gurobi" else mip.mip_solver, threads=mip.solver_threads)


def search_settings(config: Config) -> SearchSettings | None:
    """The sections `solver` and `bab`; None if nothing follows the first bounds.

    `complete_verifier: skip` keeps α-CROWN, if `bound_prop_method` asks for it.
    """
    general, solver = config.settings(GeneralOptions), config.settings(SolverOptions)
    optimised = solver.bound_prop_method == "alpha-crown"
    if general.complete_verifier == "skip" and not optimised:
        return None
    alpha, beta, rule = alpha_settings(config), config.settings(BetaCrownOptions), config.settings(BranchingOptions)
    return SearchSettings(
        batch_size=solver.batch_size,
        max_domains=config.settings(BabOptions).max_domains,
        alpha=alpha if optimised else replace(alpha, iterations=0),
        beta=AdamSettings(beta.iteration, beta.lr_alpha, beta.lr_beta, beta.lr_decay),
        branching=BranchingSettings(
            method=BranchingSettings.method if rule.method in INPUT_BRANCHING else rule.method,
            candidates=rule.candidates,
            reduceop=rule.reduceop,
            seed=general.seed,
        ),
        double=general.double_fp,
    )


def alpha_settings(config: Config) -> AdamSettings:
    """The section `solver.alpha-crown`."""
    alpha = config.settings(AlphaCrownOptions)
    return AdamSettings(alpha.iteration, alpha.lr_alpha, lr_decay=alpha.lr_decay)


def input_split(config: Config) -> InputSplit | None:
    """The section `bab.branching.input_split`: for all networks, for those of few inputs, or None.

    Without `enable`, a branching method that chooses neurons rules it out if it was asked for.

    Raises:
        ConfigError: options of which one rules out the other.
    """
    method, split = config.settings(BranchingOptions).method, config.settings(InputSplitOptions)
    _check_input_split(config, method, split.enable)
    if not split.enable and not config.is_default("bab.branching.method"):
        return None
    branching = InputBranching(
        method=method if split.enable and method in INPUT_BRANCHING else InputBranching.method,
        sb_margin_weight=split.sb_margin_weight,
        sb_coeff_thresh=split.sb_coeff_thresh,
        sb_sum=split.sb_sum,
    )
    return InputSplit(math.inf if split.enable else split.input_dim_threshold, split.enable, branching)


def _check_input_split(config: Config, method: str, enabled: bool) -> None:
    of_inputs, verifier = method in INPUT_BRANCHING, config.settings(GeneralOptions).complete_verifier
    if of_inputs and not enabled:
        raise _refusal(config, "bab.branching.method", f"chooses inputs; set {_SPLIT}.enable, or take another method")
    if enabled and not of_inputs and not config.is_default("bab.branching.method"):
        raise _refusal(config, "bab.branching.method", f"chooses neurons, but {_SPLIT}.enable is set; remove one")
    if enabled and verifier not in COMPLETE.having(SPLITS_INPUTS):
        raise _refusal(config, "general.complete_verifier", f"splits no inputs, but {_SPLIT}.enable is set; remove one")
    if config.settings(ClipInputOptions).enabled and not enabled:
        raise _refusal(config, _CLIP, f"only boxes of inputs are clipped; set {_SPLIT}.enable, or remove it")
    for name in SB_OPTIONS:
        if method != "sb" and not config.is_default(f"{_SPLIT}.{name}"):
            raise _refusal(config, f"{_SPLIT}.{name}", "is read by bab.branching.method sb alone; remove it")


def _refusal(config: Config, key: str, reason: str) -> ConfigError:
    return ConfigError(f"{config.origin(key)}: {key}: {show(config[key])}: {reason}")
