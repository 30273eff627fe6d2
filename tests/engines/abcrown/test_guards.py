"""What is refused before α,β-CROWN starts, and what insisting changes."""

from __future__ import annotations

from typing import Any

import pytest

from abcrown_graft.config.load import load_config
from abcrown_graft.engines.abcrown.guards import GRAFTED, GUARDS, UNSOUND, Circumstances, check_guards
from abcrown_graft.errors import ConfigError, UnsupportedError

CLIP = "bab.clip_n_verify.clip_interm_domain.clip_in_alpha_crown"
PLAIN, GRAFTED_NET, OLD_LP = Circumstances(False), Circumstances(True), Circumstances(False, "0.7.0")
MINE = 'Customized("tuning.py", "tune")'

ON_GRAFTED: list[dict[str, Any]] = [
    {"bab.cut.enabled": True},
    {"bab.cut.bab_cut": True},
    {"bab.cut.cplex_cuts": True},
    *({"solver.bound_prop_method": method} for method in (
        "forward", "forward+crown", "alpha-forward", "dynamic-forward", "dynamic-forward+crown",
        "dynamic-forward+backward", "forward+backward",
    )),
    {"solver.init_bound_prop_method": "forward+crown"},
    {"solver.forward.refine": True},
    {"solver.forward_before_compute_bounds": True},
    {"bab.branching.method": "kfsb-intercept-only"},
    {"model.with_jacobian": True},
    {"solver.invprop.apply_output_constraints_to": ("BoundInput",)},
]  # fmt: skip
UNSOUND_ANYWHERE: list[dict[str, Any]] = [
    {CLIP: True},
    {"bab.clip_n_verify.clip_interm_domain.enabled": True},
    {"bab.decision_thresh": -1.0},
    {"specification.rhs_offset": -0.5},
    {"specification.shrink_eps": 0.01},
    {"bab.cut.biccos.enabled": True},
    {"bab.branching.method": "babsr"},
    {"bab.recompute_interm": True},
    {"bab.vanilla_crown": True},
    {"bab.attack.enabled": True},
    {"general.enable_incomplete_verification": False},
    {"solver.beta-crown.enable_opt_interm_bounds": True},
    {"solver.beta-crown.all_node_split_LP": True},
]
NEVER: list[dict[str, Any]] = [
    {"model.onnx_path": "a.onnx"},
    {"specification.vnnlib_path": "a.vnnlib"},
    {"general.csv_name": "a.csv"},
    {"data.pkl_path": "a.pkl"},
    {"general.prepare_only": True},
    {"general.return_optimized_model": True},
    {"debug.view_model": True},
    {"general.complete_verifier": 'Customized("v.py", "verify")'},
    {"specification.robustness_type": "clean-acc"},
    {"solver.mip.mip_solver": "highs"},
    {"bab.max_iterations": 10},
    {"instability.dump": "d.st", "instability.method": "interval"},
]
FINE: list[dict[str, Any]] = [
    {},
    {"solver.bound_prop_method": "crown", "bab.branching.method": "fsb"},
    {"general.complete_verifier": "mip"},
    {"general.complete_verifier": "bab-refine", "solver.mip.parallel_solvers": 2},
    {CLIP: True, "solver.optimize_disjuncts_separately": True},
    {"instability.method": "interval"},
    {"solver.beta-crown.all_node_split_LP": True, "bab.pruning_in_iteration": False},
    {"general.graph_optimizer": MINE, "general.adhoc_tuning": MINE},
    {"attack.attack_func": "attack_with_general_specs", "attack.pgd_loss": MINE},
]


def name(values: Any) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items()) or "defaults"


@pytest.mark.parametrize("values", FINE, ids=name)
def test_what_works_there_passes(values: dict[str, Any]) -> None:
    for circumstances in (PLAIN, GRAFTED_NET, Circumstances(None)):
        check_guards(load_config(None, values), circumstances)


@pytest.mark.parametrize("values", ON_GRAFTED, ids=name)
def test_grafted_networks_are_kept_from_what_knows_relu_only(values: dict[str, Any]) -> None:
    check_guards(load_config(None, values), PLAIN)
    check_guards(load_config(None, values), Circumstances(None))
    (key,) = values
    for insisting in ({}, {"general.allow_unsound": True}):
        with pytest.raises(UnsupportedError) as error:
            check_guards(load_config(None, {**values, **insisting}), GRAFTED_NET)
        assert f": {key} = " in str(error.value) and "--allow_unsound" not in str(error.value)


@pytest.mark.parametrize("values", UNSOUND_ANYWHERE, ids=name)
def test_what_went_wrong_there_is_refused_unless_the_user_insists(values: dict[str, Any]) -> None:
    (key,) = values
    with pytest.raises(UnsupportedError, match=r"or insist with --allow_unsound") as error:
        check_guards(load_config(None, values), PLAIN)
    assert f": {key} = " in str(error.value)
    check_guards(load_config(None, {**values, "general.allow_unsound": True}), PLAIN)


@pytest.mark.parametrize("values", NEVER, ids=name)
def test_what_means_something_else_is_refused_whatever_the_user_says(values: dict[str, Any]) -> None:
    key = list(values)[-1]
    with pytest.raises(UnsupportedError) as error:
        check_guards(load_config(None, {**values, "general.allow_unsound": True}), PLAIN)
    assert f": {key} = " in str(error.value) and "is refused with α,β-CROWN" in str(error.value)


LP = {"solver.beta-crown.all_node_split_LP": True, "bab.pruning_in_iteration": False}


@pytest.mark.parametrize("values", [LP, {"solver.mip.formulation": "lp"}])
def test_linear_programs_need_the_release_that_mended_them(values: dict[str, Any]) -> None:
    check_guards(load_config(None, values), Circumstances(False, "0.7.1"))
    with pytest.raises(UnsupportedError, match=r"before 0\.7\.1 have verified properties that do not hold"):
        check_guards(load_config(None, values), OLD_LP)
    check_guards(load_config(None, {**values, "general.allow_unsound": True}), OLD_LP)


def test_the_message_names_the_flag_the_value_and_how_many_there_are() -> None:
    config = load_config(None, {"general.csv_name": "a.csv", "bab.vanilla_crown": True})
    with pytest.raises(UnsupportedError) as error:
        check_guards(config, PLAIN)
    message = str(error.value)
    assert "flag --vanilla_crown_bab: bab.vanilla_crown = true is refused" in message
    assert message.endswith("(1 more like it)") and "\n" not in message


@pytest.mark.parametrize("text", ("__import__('os').system('true')", "lambda net: None", 'Customized("a.py", f())'))
def test_no_text_that_is_code_gets_to_a_program_that_evaluates_it(text: str) -> None:
    for key in ("general.graph_optimizer", "general.adhoc_tuning", "model.optimize_graph", "attack.pgd_loss"):
        with pytest.raises(ConfigError):
            check_guards(load_config(None, {key: text, "general.allow_unsound": True}), PLAIN)


def test_every_guard_has_a_kind_and_a_reason() -> None:
    guards = [GUARDS[known] for known in GUARDS.names()]
    assert {guard.kind for guard in guards} == {"foreign", GRAFTED, UNSOUND}
    assert all(guard.reason and "\n" not in guard.reason for guard in guards)
