"""α,β-CROWN's complete verifiers on a grafted network of twenty neurons, whose margins are known from a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy_instances
import upstream

upstream.imported("beta_CROWN_solver")

Notes = list[dict[str, Any]]


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The boxes in a file; every other one is robust."""
    path = tmp_path_factory.mktemp("toy") / "boxes.npz"
    toy_instances.save(path)
    return path


def configuration(boxes: Path, verifier: str, count: int, **changes: Any) -> dict[str, Any]:
    """To verify the first boxes; `changes` are of the sections `branching` and `beta-crown`."""
    return {
        "general": {
            "complete_verifier": verifier,
            "graph_optimizer": 'Customized("abcrown_graft.plugin.hooks", "graph_optimizer")',
        },
        "model": {"name": 'Customized("toy_instances", "abcrown_network")'},
        "data": {
            "dataset": f'Customized("toy_instances", "instances", path="{boxes}")',
            "end": count,
            "num_outputs": toy_instances.CLASSES,
        },
        "specification": {"epsilon": toy_instances.RADIUS},
        "attack": {"pgd_order": "skip"},
        "bab": {"override_timeout": 5, "pruning_in_iteration": False, "branching": changes.get("branching", {})},
        "solver": {
            "batch_size": 64,
            "bound_prop_method": changes.get("bound_prop_method", "alpha-crown"),
            "alpha-crown": {"iteration": 5},
            "beta-crown": {"iteration": 5, **changes.get("beta", {})},
            "mip": {"parallel_solvers": 1},
        },
    }


# Keys as in α,β-CROWN's YAML files; each is a run of its own.
OPTIONS: dict[str, Any] = {
    "conv_mode matrix": {"general": {"conv_mode": "matrix"}},
    "double_fp": {"general": {"double_fp": True}},
    "dense alpha": {"general": {"sparse_alpha": False}},
    "shared alpha": {"solver": {"alpha-crown": {"share_alphas": True, "iteration": 5}}},
    "crown": {"solver": {"bound_prop_method": "crown"}},
    "crown-ibp": {"solver": {"bound_prop_method": "crown-ibp"}},
    "same-slope": {"solver": {"crown": {"activation_bound_option": "same-slope"}}},
    "batched rows": {"solver": {"crown": {"batch_size": 3}}},
    "disjuncts apart": {"solver": {"optimize_disjuncts_separately": True}},
    "input split": {"bab": {"branching": {"method": "sb", "input_split": {"enable": True}}}},
}


def statuses(notes: Notes, robust: bool) -> list[str]:
    """What was said of the boxes that are robust, or of the others."""
    known = toy_instances.boxes()[2]
    return [note["status"] for note, truth in zip(notes, known, strict=False) if truth is robust]


def test_mip_decides_every_box_rightly(tmp_path: Path, boxes: Path) -> None:
    (notes,) = upstream.run_abcrown(tmp_path, configuration(boxes, "mip", 40, bound_prop_method="crown"))
    assert statuses(notes, robust=False) == ["unsafe-mip"] * 20
    assert statuses(notes, robust=True) == ["safe-mip"] * 20


def test_refined_bounds_hold_and_prove_nothing_false(tmp_path: Path, boxes: Path) -> None:
    (notes,) = upstream.run_abcrown(tmp_path, configuration(boxes, "bab-refine", 4))
    assert all(status.startswith("safe") for status in statuses(notes, robust=True))
    assert set(statuses(notes, robust=False)) == {"unknown"}
    assert sum(note["refined"] for note in notes) > 10
    assert max(note["violation"] for note in notes) < 2e-5  # α,β-CROWN's feasibility tolerance


def test_linear_programs_of_fully_split_domains(tmp_path: Path, boxes: Path) -> None:
    (notes,) = upstream.run_abcrown(tmp_path, configuration(boxes, "bab", 4, beta={"all_node_split_LP": True}))
    assert statuses(notes, robust=False) == ["unsafe-bab"] * 2
    assert all(status.startswith("safe") for status in statuses(notes, robust=True))
    assert sum(note["splits"] for note in notes) > 10
    assert sum(note["grafted_splits"] for note in notes) == 0


def test_branching_never_splits_grafted_neurons(tmp_path: Path, boxes: Path) -> None:
    methods = ("kfsb", "fsb", "nonlinear", "intercept")
    configs = [configuration(boxes, "bab", 2, branching={"method": method}) for method in methods]
    control = configuration(boxes, "bab", 2)  # last: it changes the operator of its process
    control["model"]["name"] = 'Customized("toy_instances", "careless_network")'
    *found, careless = upstream.run_abcrown(tmp_path, *configs, control)
    for method, notes in zip(methods, found, strict=True):
        assert not any(status.startswith("safe") for status in statuses(notes, robust=False)), method
        assert not any(status.startswith("unsafe") for status in statuses(notes, robust=True)), method
        assert sum(note["splits"] for note in notes) > 10, method
        assert sum(note["grafted_splits"] for note in notes) == 0, method
    assert sum(note["grafted_splits"] for note in careless) > 0  # such splits would be noticed


def test_no_option_makes_it_contradict_the_grid(tmp_path: Path, boxes: Path) -> None:
    configs = []
    for changes in OPTIONS.values():
        config = configuration(boxes, "bab", 2)
        config["bab"]["override_timeout"] = 1  # `bab.max_iterations` would end as "safe" with open domains left
        for section, keys in changes.items():
            config[section].update(keys)
        configs.append(config)
    for option, notes in zip(OPTIONS, upstream.run_abcrown(tmp_path, *configs), strict=True):
        assert len(notes) == 2, option
        assert not any(status.startswith("safe") for status in statuses(notes, robust=False)), option
        assert not any(status.startswith("unsafe") for status in statuses(notes, robust=True)), option
        assert sum(note["grafted_splits"] for note in notes) == 0, option
