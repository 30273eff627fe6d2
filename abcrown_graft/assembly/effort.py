"""What is to be proved of images and how hard to try, made from a configuration."""

from __future__ import annotations

import math
from dataclasses import replace

from abcrown_graft.assembly.inputs import epsilon
from abcrown_graft.assembly.instances import asks_for_properties
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
from abcrown_graft.verify.completion import SPLITS_INPUTS
from abcrown_graft.verify.problem import VerifySettings

TOGETHER_ON_GPU = 16  # instances: enough for full batches, and the matrices of so many cores fit into the memory
SPLIT_INPUTS = ("sb", "naive")  # branching methods that choose inputs; the others choose neurons
SB_OPTIONS = ("sb_margin_weight", "sb_coeff_thresh", "sb_sum")
_SPLIT, _CLIP = "bab.branching.input_split", "bab.clip_n_verify.clip_input_domain.enabled"
BOUND_METHODS = {"ibp": "interval", "crown": "crown", "alpha-crown": "crown"}


def attack_settings(config: Config) -> PGDSettings | None:
    """The section `attack`, None if it is skipped."""
    if config["attack.pgd_order"] == "skip":
        return None
    alpha, default_batch = config["attack.pgd_alpha"], config.is_default("attack.pgd_batch_size")
    return PGDSettings(
        steps=config["attack.pgd_steps"],
        restarts=config["attack.pgd_restarts"],
        alpha=None if alpha == "auto" else float(alpha),
        batch_size=PGDSettings.batch_size if default_batch else config["attack.pgd_batch_size"],
        early_stop=config["attack.pgd_early_stop"],
    )


def verify_settings(config: Config) -> VerifySettings:
    """How hard to try."""
    override = config["bab.override_timeout"]
    return VerifySettings(
        method=BOUND_METHODS[config["solver.bound_prop_method"]],
        incomplete=config["general.enable_incomplete_verification"],
        attack=attack_settings(config),
        timeout=config["bab.timeout"] if override is None else override,
        batch_size=config["solver.batch_size"],
        seed=config["general.seed"],
        double=config["general.double_fp"],
        search_together=_searched_together(config),
        search=search_settings(config),
        input_split=input_split(config),
        complete_verifier=config["general.complete_verifier"],
        mip=mip_settings(config),
        test_core=config["debug.test_core"],
    )


def _searched_together(config: Config) -> int:
    chosen, verifier = config["bab.instances"], config["general.complete_verifier"]
    if verifier in ("mip", "auto"):
        if chosen not in (None, 1):
            where = f"{config.origin('bab.instances')}: bab.instances"
            raise ConfigError(f"{where}: {chosen}, but {verifier} solves its programs one by one; remove it")
        return 1
    if chosen is not None:
        return chosen
    return TOGETHER_ON_GPU if config["general.device"] == "cuda" else 1


def radius(config: Config) -> float | None:
    """`specification.epsilon` of a ball; None where the data set or VNN-LIB gives bounds."""
    if asks_for_properties(config):
        return None
    return epsilon(config) if config["specification.type"] == "lp" else None


def specification(config: Config, data: ImageData) -> Robustness:
    """What is to be proved of the images of a data set.

    Raises:
        ConfigError: the radius of a ball is not set, or set though the images come with bounds.
        DataError: the data set lacks bounds or targets that are asked for, or has bounds that are not.
    """
    kind, shape = config["specification.robustness_type"], config["specification.type"]
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
    if config["specification.epsilon"] is not None:
        place = f"{config.origin('specification.epsilon')}: specification.epsilon"
        raise ConfigError(f"{place}: set, but specification.type {shape} takes the data set's bounds; remove it")
    return Robustness(None, kind, data.targets, data.lower, data.upper, data.readings)


def mip_settings(config: Config) -> MipSettings:
    """The section `solver.mip`; HiGHS steps in where Gurobi's licence ends."""
    solver = config["solver.mip.mip_solver"]
    return MipSettings("auto" if solver == "gurobi" else solver, threads=config["solver.mip.solver_threads"])


def search_settings(config: Config) -> SearchSettings | None:
    """The sections `solver` and `bab`; None if nothing follows the first bounds.

    `complete_verifier: skip` keeps α-CROWN, if `bound_prop_method` asks for it.
    """
    optimised = config["solver.bound_prop_method"] == "alpha-crown"
    if config["general.complete_verifier"] == "skip" and not optimised:
        return None
    alpha, beta = alpha_settings(config), _adam_settings(config, "beta-crown")
    branching = {name: config[f"bab.branching.{name}"] for name in ("candidates", "reduceop")}
    if config["bab.branching.method"] not in SPLIT_INPUTS:
        branching["method"] = config["bab.branching.method"]
    return SearchSettings(
        batch_size=config["solver.batch_size"],
        max_domains=config["bab.max_domains"],
        alpha=alpha if optimised else replace(alpha, iterations=0),
        beta=beta,
        branching=BranchingSettings(**branching, seed=config["general.seed"]),
        double=config["general.double_fp"],
    )


def alpha_settings(config: Config) -> AdamSettings:
    """The section `solver.alpha-crown`."""
    return _adam_settings(config, "alpha-crown")


def input_split(config: Config) -> InputSplit | None:
    """The section `bab.branching.input_split`: for all networks, for those of few inputs, or None.

    Without `enable`, a branching method that chooses neurons rules it out if it was asked for.

    Raises:
        ConfigError: options of which one rules out the other.
    """
    _check_input_split(config)
    method, enabled = config["bab.branching.method"], config[f"{_SPLIT}.enable"]
    if not enabled and not config.is_default("bab.branching.method"):
        return None
    rule = {"method": method} if enabled and method in SPLIT_INPUTS else {}
    branching = InputBranching(**rule, **{name: config[f"{_SPLIT}.{name}"] for name in SB_OPTIONS})
    return InputSplit(math.inf if enabled else config[f"{_SPLIT}.input_dim_threshold"], enabled, branching)


def _check_input_split(config: Config) -> None:
    method, enabled = config["bab.branching.method"], config[f"{_SPLIT}.enable"]
    if method in SPLIT_INPUTS and not enabled:
        raise _refusal(config, "bab.branching.method", f"chooses inputs; set {_SPLIT}.enable, or take another method")
    if enabled and method not in SPLIT_INPUTS and not config.is_default("bab.branching.method"):
        raise _refusal(config, "bab.branching.method", f"chooses neurons, but {_SPLIT}.enable is set; remove one")
    if enabled and config["general.complete_verifier"] not in SPLITS_INPUTS:
        raise _refusal(config, "general.complete_verifier", f"splits no inputs, but {_SPLIT}.enable is set; remove one")
    if config[_CLIP] and not enabled:
        raise _refusal(config, _CLIP, f"only boxes of inputs are clipped; set {_SPLIT}.enable, or remove it")
    for name in SB_OPTIONS:
        if method != "sb" and not config.is_default(f"{_SPLIT}.{name}"):
            raise _refusal(config, f"{_SPLIT}.{name}", "is read by bab.branching.method sb alone; remove it")


def _refusal(config: Config, key: str, reason: str) -> ConfigError:
    return ConfigError(f"{config.origin(key)}: {key}: {show(config[key])}: {reason}")


def _adam_settings(config: Config, section: str) -> AdamSettings:
    key = f"solver.{section}"
    beta = {"lr_beta": config[f"{key}.lr_beta"]} if section == "beta-crown" else {}
    names = {"iterations": "iteration", "lr_alpha": "lr_alpha", "lr_decay": "lr_decay"}
    return AdamSettings(**{name: config[f"{key}.{option}"] for name, option in names.items()}, **beta)
