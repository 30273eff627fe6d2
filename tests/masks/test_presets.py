from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abcrown_graft.masks.presets import PRESETS, Stage


def test_these_are_all():
    assert PRESETS.names() == ("fixed", "insignificant", "paper", "random", "thesis", "unstable")


def test_thesis_takes_an_eighth_of_the_neurons_in_each_of_four_stages():
    stages = PRESETS["thesis"](62_464 // 2, 2.0, 100)
    assert stages == tuple(Stage(62_464 // 8, gamma) for gamma in (2.0, 1.5, 1.0, 0.0))


def test_paper_falls_linearly_from_gamma_to_zero():
    stages = PRESETS["paper"](10, 2.0, 5)
    assert [stage.instability for stage in stages] == [2.0, 1.5, 1.0, 0.5, 0.0]
    assert [stage.count for stage in stages] == [2, 2, 2, 2, 2]
    assert PRESETS["paper"](10, 3.0, 1) == (Stage(10, 3.0),)


@pytest.mark.parametrize(
    ("preset", "weights"),
    [
        ("fixed", (1.25, 1.0, 0.0)),
        ("unstable", (1.0, 0.0, 0.0)),
        ("insignificant", (0.0, 1.0, 0.0)),
        ("random", (0.0, 0.0, 1.0)),
    ],
)
def test_the_ablations_are_one_stage(preset, weights):
    (stage,) = PRESETS[preset](7, 1.25, 100)
    assert (stage.count, stage.instability, stage.significance, stage.chance) == (7, *weights)


@pytest.mark.parametrize("preset", PRESETS.names())
@settings(deadline=None, max_examples=50)
@given(target=st.integers(0, 10_000), stages=st.integers(1, 300))
def test_the_stages_add_up_to_the_target_and_are_even(preset, target, stages):
    counts = [stage.count for stage in PRESETS[preset](target, 2.0, stages)]
    assert sum(counts) == target
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("module", ["presets", "mappings"])
def test_the_names_are_known_without_importing_torch(module):
    code = f"import sys, abcrown_graft.masks.{module}; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
