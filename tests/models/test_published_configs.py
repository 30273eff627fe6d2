"""The YAML files of the published networks load, fit their definitions, and lack nothing but weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from abcrown_graft.assembly.inputs import configured_model
from abcrown_graft.config import Config, check_engine, load_config
from abcrown_graft.config.experiments import find_config
from abcrown_graft.models.definitions import model_definition
from abcrown_graft.nn.normalize import Normalize
from abcrown_graft.nn.surgery import grafted_modules

PUBLISHED = ("cnnb_paper", "convbig_mnist_paper", "convbig_cifar", "convbig_svhn", "convhuge", "resnet4b")
PIPELINES = [f"{net}_{kind}" for net in PUBLISHED for kind in ("baseline", "graft")]
COMMITTED = {  # ReLU neurons of our training, and how many grafted
    "cnna_mnist": (4804, 2402),
    "cnnb": (16_634, 8317),
    "convbig_mnist": (48_064, 24_032),
}
OURS = [f"{net}_{kind}" for net in COMMITTED for kind in ("baseline", "graft")]
TRAINED = ["cnna_cifar", "cnna_mnist", "resnet2b_cifar", *OURS]
EPSILON = {"CIFAR": 2 / 255, "SVHN": 2 / 255, "MNIST": 0.1}
PIXELS = {"CIFAR": (3, 32, 32), "SVHN": (3, 32, 32), "MNIST": (1, 28, 28)}


def loaded(name: str) -> Config:
    return load_config(find_config(f"exp_configs/{name}.yaml"))


@pytest.mark.parametrize("name", PIPELINES + TRAINED)
def test_the_native_engine_implements_every_setting(name: str):
    check_engine(loaded(name), "native")


@pytest.mark.parametrize("name", PIPELINES + TRAINED)
def test_model_data_and_perturbation_belong_together(name: str):
    config = loaded(name)
    entry = model_definition(config["model.name"])
    assert entry.input_shape == PIXELS[config["data.dataset"]]
    assert config["specification.epsilon"] == pytest.approx(EPSILON[config["data.dataset"]], rel=1e-9)
    assert config["specification.norm"] == math.inf
    normalize = Normalize(config["data.mean"], config["data.std"], channels=entry.input_shape[0])
    assert normalize(torch.zeros(1, *entry.input_shape)).shape == (1, *entry.input_shape)


@pytest.mark.parametrize("name", PIPELINES)
def test_published_settings(name: str):
    config = loaded(name)
    assert (config["data.start"], config["data.end"], config["bab.timeout"]) == (0, 1000, 300)
    assert config["attack.pgd_order"] == "before"
    assert (config["attack.pgd_steps"], config["attack.pgd_restarts"]) == (100, 100)
    assert (config["train.epochs"], config["train.batch_size"], config["train.lr"]) == (200, 128, 0.1)
    assert config["train.milestones"] == (100, 150)
    assert config["train.validation"] == (6000 if "mnist" in name else 5000)
    assert config["train.augment"] == ("crop_flip" if config["data.dataset"] == "CIFAR" else "none")


@pytest.mark.parametrize("name", PIPELINES)
def test_training_makes_the_file_that_verification_reads(name: str):
    config = loaded(name)
    assert (
        config.path("model.path")
        == config.path("train.checkpoint")
        == Path("runs") / name.rpartition("_")[0] / ("train.safetensors")
    )
    assert config.path("graft.checkpoint") == (config.path("tune.checkpoint") if name.endswith("graft") else None)


@pytest.mark.parametrize("net", PUBLISHED)
def test_baseline_and_graft_differ_in_grafting_alone(net: str):
    baseline, graft = loaded(f"{net}_baseline"), loaded(f"{net}_graft")
    changed = {key for key in baseline.values if baseline[key] != graft[key]}
    assert changed == {"graft.checkpoint", "significance.path", "mask.path", "tune.checkpoint"}
    assert (graft["mask.preset"], graft["mask.ratio"], graft["tune.epochs"]) == ("paper", 0.5, 100)


@pytest.mark.parametrize("name", PIPELINES + TRAINED)
def test_the_head_of_the_file_says_how_to_run_it(name: str):
    text = find_config(f"exp_configs/{name}.yaml").read_text(encoding="utf-8")
    assert f"abcrown --config exp_configs/{name}.yaml" in text and "# Weights: " in text


@pytest.mark.parametrize("name", OURS)
def test_the_committed_weights_are_of_this_network(name: str):
    net, _, kind = name.rpartition("_")
    neurons, grafted = COMMITTED[net]
    model = configured_model(loaded(name))
    found = sum(int(module.mask.sum()) for module in grafted_modules(model.core).values())
    assert found == (grafted if kind == "graft" else 0)
    assert sum(math.prod(shape) for _, shape in model.identity.sites.items()) == neurons
