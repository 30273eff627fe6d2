"""One declaration is enough: what a user's module registers is used by the commands, with its options and its help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import MINIATURE

MODULE = '''
"""A user's module: one alternative of each kind, and the commands."""
import sys
from dataclasses import dataclass, replace

from torch.nn import functional

from abcrown_graft.config.kinds import FINITE
from abcrown_graft.config.settings import stage_option
from abcrown_graft.data.registry import DATASETS
from abcrown_graft.masks.mappings import MAPPINGS
from abcrown_graft.masks.options import HEURISTICS
from abcrown_graft.masks.presets import PRESETS, Stage
from abcrown_graft.search.options import BRANCHING, INPUT_BRANCHING
from abcrown_graft.training.method import METHODS, BatchLoss, Method
from abcrown_graft.training.settings import AUGMENTATIONS
from abcrown_graft.verify.options import COMPLETE

used = set()


@DATASETS.register("my_data")
def my_data(split, folder):
    used.add("data")
    return replace(DATASETS["DIGITS"](split, folder), name="my_data")


@METHODS.register("my_method", help="clean images")
@dataclass(frozen=True, kw_only=True)
class MyMethod(Method):
    my_weight: float = stage_option("train.my_weight", FINITE, 1.0, "Weight of my loss.", above=0, also="tune")

    def loss(self, step):
        used.add(f"method {self.my_weight:g}")
        logits = step.model(step.images)
        return BatchLoss(self.my_weight * functional.cross_entropy(logits, step.labels), logits)


@AUGMENTATIONS.register("my_augmentation", help="copies")
def my_augmentation(images, generator):
    used.add("augmentation")
    return images.clone()


@PRESETS.register("my_preset", help="my way", label="grafting my way")
def my_preset(target, gamma, stages):
    used.add("preset")
    return (Stage(target, 1.0, 0.5),)


@MAPPINGS.register("my_mapping", help="squares")
def my_mapping(flat):
    used.add("mapping")
    return MAPPINGS["norank"](flat) ** 2


def my_statistic(network, images, labels, epsilon):
    used.add("score")
    return HEURISTICS["magnitude"][0](network, images, labels, epsilon)


HEURISTICS.register("my_score", help="as magnitude")((my_statistic, lambda n, total: total / n))


@COMPLETE.register("my_verifier", help="branch and bound")
def my_verifier(*arguments):
    used.add("verifier")
    return (yield from COMPLETE["bab"](*arguments))


@BRANCHING.register("my_rule", help="neurons: as babsr")
def my_rule(core, found, settings):
    used.add("rule")
    return BRANCHING["babsr"](core, found, settings)


@INPUT_BRANCHING.register("my_input_rule", help="inputs: the longest side")
def my_input_rule(width, found, clauses, settings):
    used.add("input rule")
    return width


from abcrown_graft.cli import abcrown, tools

code = {"abcrown": abcrown, "abcrown-graft": tools}[sys.argv[1]].main(sys.argv[2:])
print("used:", *sorted(used), sep="\\n")
sys.exit(code)
'''

CHANGED = """
include: miniature.yaml
general: {complete_verifier: my_verifier}
data: {dataset: my_data, end: 12}
train: {method: my_method, my_weight: 0.5, augment: my_augmentation}
tune: {my_weight: 0.25}
significance: {method: my_score}
mask: {preset: my_preset, mapping: my_mapping}
bab: {max_domains: 20, branching: {method: my_rule}}
solver: {alpha-crown: {iteration: 1}, beta-crown: {iteration: 1}}
pipeline: {output: out}
specification: {epsilon: 0.05}
attack: {pgd_order: skip}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "miniature.yaml").write_text(MINIATURE)
    (tmp_path / "mine.yaml").write_text(CHANGED)
    return tmp_path


def command(folder: Path, *words: str, code: int = 0) -> str:
    """What the user's module prints when it runs a command; fails if that ends with another code."""
    ended = subprocess.run([sys.executable, "mine.py", *words], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def used(printed: str) -> set[str]:
    """What the module says was used."""
    return set(printed.partition("used:\n")[2].splitlines())


def test_a_run_uses_everything_and_names_it(folder: Path) -> None:
    found = used(command(folder, "abcrown-graft", "run", "mine.yaml"))
    networks = {"data", "method 0.5", "method 0.25", "augmentation", "preset", "mapping", "score"}
    assert found == networks | {"verifier", "rule"}
    record = json.loads((folder / "out" / "run.json").read_text())
    assert record["label"] == "grafting my way (my_score) 50 %"

    split = ("--enable_input_split", "--branching_method", "my_input_rule", "--complete_verifier", "bab")
    weights = ("--load_model", "out/train.safetensors", "--engine", "native")
    assert "input rule" in used(command(folder, "abcrown", "--config", "mine.yaml", *weights, *split))


def test_flags_help_and_messages_know_the_names(folder: Path) -> None:
    told = " ".join(command(folder, "abcrown-graft", "train", "--help").split())
    assert "--train_my_weight X Weight of my loss. (default 1.0)" in told
    assert "my_method (clean images)" in told and "my_augmentation (copies)" in told
    words = ("--config", "mine.yaml", "--tune_my_weight", "0")
    refused = command(folder, "abcrown-graft", "tune", *words, code=2)
    assert "flag --tune_my_weight: tune.my_weight: expected a finite number, above 0, got '0'" in refused
    refused = command(folder, "abcrown-graft", "mask", "--config", "mine.yaml", "--mask_preset", "my_peset", code=2)
    assert "fixed, unstable, insignificant, random, my_preset, got 'my_peset'" in refused
