"""What is refused before α,β-CROWN starts: options that are unsound or broken there, or that have no meaning here.

Three kinds. Some options speak of another model, property or way of running than this front end's: never taken. Some
do not know the operator of grafted networks: refused for these. Some were seen to give wrong verdicts or to fail on
every network (α,β-CROWN 0.7.0): refused unless the user insists with `general.allow_unsound`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from abcrown_graft.assembly.options import GeneralOptions
from abcrown_graft.config.config import Config
from abcrown_graft.config.customized import parse_customized
from abcrown_graft.config.option import show
from abcrown_graft.engines.abcrown.locate import FIXED_LP, older
from abcrown_graft.errors import ConfigError, UnsupportedError
from abcrown_graft.masks.options import InstabilityOptions
from abcrown_graft.registry import Registry

FOREIGN, GRAFTED, UNSOUND = "foreign", "grafted", "unsound"
FORWARD = ("forward", "forward+crown", "alpha-forward", "forward+backward")
DYNAMIC = ("dynamic-forward", "dynamic-forward+crown", "dynamic-forward+backward")
EVALUATED = (
    *("general.graph_optimizer", "general.adhoc_tuning", "model.optimize_graph", "attack.attack_func"),
    *("attack.pgd_loss", "attack.early_stop_condition", "attack.adv_example_finalizer", "attack.adv_saver"),
    "attack.adv_verifier",
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9.]*")


@dataclass(frozen=True)
class Circumstances:
    """What a guard depends on besides the configuration.

    Attributes:
        grafted: whether the network has grafted neurons; None before it is loaded.
        lirpa: auto_LiRPA's version.
    """

    grafted: bool | None = None
    lirpa: str = FIXED_LP


Condition = Callable[[Config, Circumstances], "str | None"]
"""The key of the option that is refused, or None."""


@dataclass(frozen=True)
class Guard:
    """One refusal.

    Attributes:
        kind: FOREIGN, GRAFTED or UNSOUND.
        reason: ends the message.
        condition: whether it applies.
    """

    kind: str
    reason: str
    condition: Condition


GUARDS: Registry[Guard] = Registry("guard")


def check_guards(config: Config, circumstances: Circumstances) -> None:
    """Raises if a guard applies.

    Raises:
        UnsupportedError: names the first option refused, its origin and value, why, and how many more there are.
        ConfigError: an option holds more than the name of a function or a `Customized(...)` of literals.
    """
    _check_evaluated(config)
    refused = list(_refused(config, circumstances))
    if not refused:
        return
    key, guard = refused[0]
    insist = " or insist with --allow_unsound" if guard.kind == UNSOUND else ""
    more = f" ({len(refused) - 1} more like it)" if len(refused) > 1 else ""
    raise UnsupportedError(
        f"{config.origin(key)}: {key} = {show(config[key])} is refused with α,β-CROWN: {guard.reason}; "
        f"change it{insist}{more}"
    )


def _refused(config: Config, circumstances: Circumstances) -> Iterable[tuple[str, Guard]]:
    for name in GUARDS.names():
        guard = GUARDS[name]
        if guard.kind == UNSOUND and config.settings(GeneralOptions).allow_unsound:
            continue
        if guard.kind == GRAFTED and not circumstances.grafted:
            continue
        key = guard.condition(config, circumstances)
        if key is not None:
            yield key, guard


def _check_evaluated(config: Config) -> None:
    """α,β-CROWN evaluates these texts as Python; only names and `Customized(...)` of literals get there."""
    for key in EVALUATED:
        text = config[key]
        if text and parse_customized(text) is None and not _NAME.fullmatch(text.strip()):
            raise ConfigError(f"{config.origin(key)}: {key}: {text!r} is no function; name one, or use Customized(...)")


def _guard(kind: str, name: str, reason: str, condition: Condition) -> None:
    GUARDS.register(name)(Guard(kind, reason, condition))


def _set(*keys: str) -> Condition:
    """One of the keys has another value than its default."""
    return lambda config, _: next((key for key in keys if not config.is_default(key)), None)


def _value(key: str, *values: object) -> Condition:
    """The key has one of the values."""
    return lambda config, _: key if config[key] in values else None


def _forward(config: Config, _: Circumstances) -> str | None:
    for key in ("solver.bound_prop_method", "solver.init_bound_prop_method"):
        if config[key] in (*FORWARD, *DYNAMIC):
            return key
    return _set("solver.forward.refine", "solver.forward_before_compute_bounds")(config, _)


def _custom_verifier(config: Config, _: Circumstances) -> str | None:
    key = "general.complete_verifier"
    return key if config[key].lstrip().startswith("Customized") else None


def _clip_in_alpha_crown(config: Config, _: Circumstances) -> str | None:
    key = "bab.clip_n_verify.clip_interm_domain.clip_in_alpha_crown"
    return key if config[key] and not config["solver.optimize_disjuncts_separately"] else None


def _linear_programs(config: Config, circumstances: Circumstances) -> str | None:
    if not older(circumstances.lirpa, FIXED_LP):
        return None
    return _set("solver.beta-crown.all_node_split_LP", "solver.mip.formulation")(config, circumstances)


_guard(
    FOREIGN,
    "input files",
    "model and images come from model.name and data.dataset here; run α,β-CROWN itself on ONNX, VNN-LIB and CSV files",
    _set(
        *("general.csv_name", "model.onnx_path", "model.onnx_path_prefix", "model.onnx_loader"),
        *("model.onnx_quirks", "model.onnx_optimization_flags", "model.onnx_vnnlib_joint_optimization_flags"),
        *("model.cache_onnx_conversion", "model.debug_onnx", "model.check_optimized", "specification.vnnlib_path"),
        *("specification.vnnlib_path_prefix", "data.pkl_path", "data.data_filter_path"),
        *("general.verify_onnxruntime_output", "general.eval_adv_example", "general.onnx_adv_example"),
    ),
)
_guard(
    FOREIGN,
    "no verdicts",
    "it ends without verdicts",
    _set("general.prepare_only", "general.return_optimized_model", "debug.view_model"),
)
_guard(FOREIGN, "custom verifier", "its verdicts could not be told apart from α,β-CROWN's", _custom_verifier)
_guard(
    FOREIGN,
    "clean accuracy",
    "it has no such property; use --engine native",
    _value("specification.robustness_type", "clean-acc"),
)
_guard(
    FOREIGN,
    "interval instability",
    "it counts by crown or alpha-crown bounds; use --engine native",
    lambda config, _: "instability.method" if config.settings(InstabilityOptions).dump and _interval(config) else None,
)
_guard(
    FOREIGN,
    "rounds",
    "where the rounds end before the open subproblems do, it says safe; limit bab.timeout",
    _set("bab.max_iterations"),
)
_guard(FOREIGN, "HiGHS", "it knows Gurobi and SCIP", _value("solver.mip.mip_solver", "highs"))
_guard(
    GRAFTED,
    "cuts",
    "cuts know ReLU only, not grafted neurons",
    _set("bab.cut.enabled", "bab.cut.bab_cut", "bab.cut.biccos.enabled", "bab.cut.cplex_cuts"),
)
_guard(GRAFTED, "forward bounds", "forward bounds know ReLU only, not grafted neurons", _forward)
_guard(
    GRAFTED,
    "intercept only",
    "it chooses grafted neurons, which cannot be split",
    _value("bab.branching.method", "kfsb-intercept-only"),
)
_guard(GRAFTED, "Jacobian", "gradients of grafted neurons would be those of ReLU", _set("model.with_jacobian"))
_guard(
    GRAFTED,
    "output constraints",
    "bounds from output constraints were not checked for grafted neurons",
    _set("solver.invprop.apply_output_constraints_to", "solver.invprop.tighten_input_bounds"),
)
_guard(
    UNSOUND,
    "other property",
    "verdicts would be about another property than the one configured",
    _set("bab.decision_thresh", "specification.rhs_offset", "specification.shrink_eps", "specification.epsilon_min"),
)
_guard(
    UNSOUND,
    "clipped intermediate bounds",
    "it may turn bounds that are NaN into infinite ones, which count as proofs, before anybody sees them",
    _set("bab.clip_n_verify.clip_interm_domain.enabled"),
)
_guard(
    UNSOUND,
    "clip in alpha-CROWN",
    "it is wrong unless solver.optimize_disjuncts_separately is true",
    _clip_in_alpha_crown,
)
_guard(
    UNSOUND,
    "pruned linear programs",
    "its linear programs may take the bounds of another subproblem unless bab.pruning_in_iteration is false",
    lambda config, _: (
        "solver.beta-crown.all_node_split_LP"
        if config["solver.beta-crown.all_node_split_LP"] and config["bab.pruning_in_iteration"]
        else None
    ),
)
_guard(
    UNSOUND,
    "linear programs",
    f"linear programs of auto_LiRPA before {FIXED_LP} have verified properties that do not hold",
    _linear_programs,
)
_guard(
    UNSOUND,
    "BICCOS",
    "it fails in release 0.7.0 with recent torch",
    _set("bab.cut.biccos.enabled", "bab.cut.biccos.multi_tree_branching.enabled"),
)
_guard(UNSOUND, "BaBSR", "it fails in release 0.7.0; use kfsb or fsb", _value("bab.branching.method", "babsr"))
_guard(
    UNSOUND,
    "broken",
    "it fails in release 0.7.0",
    _set(
        *("bab.recompute_interm", "bab.vanilla_crown", "bab.attack.enabled", "general.enable_incomplete_verification"),
        "solver.beta-crown.enable_opt_interm_bounds",
    ),
)


def _interval(config: Config) -> bool:
    return config.settings(InstabilityOptions).method == "interval"
