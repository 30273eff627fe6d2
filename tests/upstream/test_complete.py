"""α,β-CROWN's complete verifiers on a grafted network of twenty neurons, whose margins are known from a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy_instances
import upstream

upstream.imported("beta_CROWN_solver")

Notes = list[dict[str, Any]]


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
        "bab": {"override_timeout": 60, "pruning_in_iteration": False, "branching": changes.get("branching", {})},
        "solver": {
            "batch_size": 64,
            "bound_prop_method": changes.get("bound_prop_method", "alpha-crown"),
            "alpha-crown": {"iteration": 5},
            "beta-crown": {"iteration": 5, **changes.get("beta", {})},
            "mip": {"parallel_solvers": 1},
        },
    }


# Keys as in α,β-CROWN's YAML files; each is a configuration of its own.
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


BRANCHING = ("kfsb", "fsb", "nonlinear", "intercept")


def configurations(boxes: Path) -> dict[str, dict[str, Any]]:
    """All that is run, by name, in order."""
    found = {
        "mip": configuration(boxes, "mip", 40, bound_prop_method="crown"),
        "bab-refine": configuration(boxes, "bab-refine", 4),
        "linear programs": configuration(boxes, "bab", 4, beta={"all_node_split_LP": True}),
    }
    found |= {method: configuration(boxes, "bab", 2, branching={"method": method}) for method in BRANCHING}
    for option, changes in OPTIONS.items():
        found[option] = configuration(boxes, "bab", 2)
        found[option]["bab"]["override_timeout"] = 1  # `bab.max_iterations` would end as "safe" with open domains left
        for section, keys in changes.items():
            found[option][section].update(keys)
    control = configuration(boxes, "bab", 2)
    control["model"]["name"] = 'Customized("toy_instances", "careless_network")'
    return found | {"careless": control}  # last: it changes the operator of its process


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Notes]:
    """What is noted of the first boxes, of which every other one is robust, in each configuration.

    One process runs them all: to start it takes longer than most of them.
    """
    folder = tmp_path_factory.mktemp("toy")
    toy_instances.save(folder / "boxes.npz")
    configs = configurations(folder / "boxes.npz")
    return dict(zip(configs, upstream.run_abcrown(folder, *configs.values()), strict=True))


def statuses(notes: Notes, robust: bool) -> list[str]:
    """What was said of the boxes that are robust, or of the others."""
    known = toy_instances.boxes()[2]
    return [note["status"] for note, truth in zip(notes, known, strict=False) if truth is robust]


def test_mip_decides_every_box_rightly(noted: dict[str, Notes]) -> None:
    assert statuses(noted["mip"], robust=False) == ["unsafe-mip"] * 20
    assert statuses(noted["mip"], robust=True) == ["safe-mip"] * 20


def test_refined_bounds_hold_and_prove_nothing_false(noted: dict[str, Notes]) -> None:
    notes = noted["bab-refine"]
    assert all(status.startswith("safe") for status in statuses(notes, robust=True))
    assert set(statuses(notes, robust=False)) == {"unknown"}
    assert sum(note["refined"] for note in notes) > 10
    assert max(note["violation"] for note in notes) < 2e-5  # α,β-CROWN's feasibility tolerance


def test_linear_programs_of_fully_split_domains(noted: dict[str, Notes]) -> None:
    notes = noted["linear programs"]
    assert statuses(notes, robust=False) == ["unsafe-bab"] * 2
    assert all(status.startswith("safe") for status in statuses(notes, robust=True))
    assert sum(note["splits"] for note in notes) > 10
    assert sum(note["grafted_splits"] for note in notes) == 0


@pytest.mark.parametrize("method", BRANCHING)
def test_branching_never_splits_grafted_neurons(noted: dict[str, Notes], method: str) -> None:
    notes = noted[method]
    assert not any(status.startswith("safe") for status in statuses(notes, robust=False))
    assert not any(status.startswith("unsafe") for status in statuses(notes, robust=True))
    assert sum(note["splits"] for note in notes) > 10
    assert sum(note["grafted_splits"] for note in notes) == 0


def test_splits_of_grafted_neurons_would_be_noticed(noted: dict[str, Notes]) -> None:
    assert sum(note["grafted_splits"] for note in noted["careless"]) > 0


@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_makes_it_contradict_the_grid(noted: dict[str, Notes], option: str) -> None:
    notes = noted[option]
    assert len(notes) == 2
    assert not any(status.startswith("safe") for status in statuses(notes, robust=False))
    assert not any(status.startswith("unsafe") for status in statuses(notes, robust=True))
    assert sum(note["grafted_splits"] for note in notes) == 0
