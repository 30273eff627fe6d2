"""The two-line way: a user's own configuration, run by α,β-CROWN's own `abcrown.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import upstream
from safetensors.torch import save_file
from sample_networks import model_names

from abcrown_graft.errors import ConfigError, ModelError
from abcrown_graft.models.definitions import model_definition
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.surgery import graft

hooks = upstream.imported("abcrown_graft.plugin.hooks")
lirpa = upstream.imported("auto_LiRPA")
arguments = upstream.imported("arguments")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]

LARGE = 1_000_000  # parameters; larger networks are built, not bounded
DATA = """
import numpy as np
import torch

def instances(specification):
    arrays = np.load("{path}", allow_pickle=False)
    images = torch.from_numpy(arrays["images"])
    every = torch.ones(1, *images.shape[1:])
    return {{"X": images, "labels": torch.from_numpy(arrays["labels"]), "data_min": 0 * every, "data_max": every,
            "eps": specification["epsilon"] * every, "norm": float("inf"), "runnerup": None, "target_label": None}}
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A plain and a grafted checkpoint of the digits network, and a few images in it."""
    folder = tmp_path_factory.mktemp("digits")
    torch.manual_seed(0)
    module = model_definition("digits_cnn").build().eval()
    save_file(module.state_dict(), folder / "plain.safetensors")
    masks = {site: torch.rand(shape) < 0.5 for site, shape in from_module(module, (1, 8, 8)).sites.items()}
    grafted = graft(module, masks)
    save_file(grafted.state_dict(), folder / "grafted.safetensors")
    images = torch.rand(2, 1, 8, 8)
    for name, network in (("plain", module), ("grafted", grafted)):
        np.savez(folder / f"{name}.npz", images=images.numpy(), labels=network(images).argmax(1).numpy())
        (folder / f"{name}_data.py").write_text(DATA.format(path=folder / f"{name}.npz"), encoding="utf-8")
    return {"folder": folder}


def run(weights: dict[str, Path], kind: str, key: str) -> subprocess.CompletedProcess[str]:
    """α,β-CROWN's own command on a configuration beside the files."""
    folder, verifier = weights["folder"], upstream.homes()[0] / "abcrown.py"
    model = f'Customized("abcrown_graft.plugin.hooks", "model", name="digits_cnn", {key}="{kind}.safetensors")'
    config: dict[str, Any] = {
        "general": {
            "device": "cpu",
            "results_file": str(folder / "results"),
            "graph_optimizer": 'Customized("abcrown_graft.plugin.hooks", "graph_optimizer")',
        },
        "model": {"name": model},
        "data": {"dataset": f'Customized("{kind}_data.py", "instances")', "end": 2},
        "specification": {"epsilon": 0.003},
        "solver": {"alpha-crown": {"iteration": 5}},
        "attack": {"pgd_steps": 5, "pgd_restarts": 2},
        "bab": {"override_timeout": 20},
    }
    file = folder / f"{kind}.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")
    words = [sys.executable, str(verifier), "--config", str(file)]
    return subprocess.run(words, capture_output=True, text=True, env=upstream.environment(), cwd=folder)


@pytest.mark.parametrize(("kind", "key"), [("plain", "path"), ("grafted", "checkpoint")])
def test_abcrown_itself_verifies(weights: dict[str, Path], kind: str, key: str) -> None:
    process = run(weights, kind, key)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Problem instances count: 2 , total verified (safe/unsat): 2 " in process.stdout
    assert ("BoundGraftedRelu" in process.stdout) is (kind == "grafted")


@pytest.fixture
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a Python session of the user's."""
    monkeypatch.setattr(arguments.Config, "file", None)


def test_arguments_are_checked(no_configuration: None) -> None:
    with pytest.raises(ModelError, match="unknown model definition 'cnnb'; did you mean 'cnn_b'"):
        hooks.model("cnnb", path="weights.pth")
    with pytest.raises(ModelError, match="random weights; add path="):
        hooks.model("cnn_b")
    with pytest.raises(ConfigError, match="unknown argument 'weights'"):
        hooks.model("cnn_b", weights="x.pth")
    with pytest.raises(ModelError, match="missing.pth"):
        hooks.model("cnn_b", path="missing.pth")


@pytest.mark.parametrize("name", model_names())
def test_every_definition_is_available(name: str, tmp_path: Path, no_configuration: None) -> None:
    definition = model_definition(name)
    torch.manual_seed(0)
    plain = definition.build().eval()
    sites = from_module(plain, definition.input_shape).sites
    grafted = graft(plain, {site: torch.rand(shape) < 0.5 for site, shape in sites.items()})
    small = sum(parameter.numel() for parameter in plain.parameters()) < LARGE
    x, file = torch.rand(1, *definition.input_shape), tmp_path / "weights.safetensors"
    for key, module in (("path", plain), ("checkpoint", grafted)) if small else (("checkpoint", grafted),):
        save_file(module.state_dict(), file)
        network = hooks.model(name, **{key: str(file)})
        assert torch.allclose(network(x), module(x), atol=1e-5)
        if small:
            net = lirpa.BoundedModule(network, torch.zeros_like(x))
            hooks.graph_optimizer(net)
            assert torch.allclose(net(x), module(x), atol=1e-4)
            assert len(net.relus) == len(sites)
