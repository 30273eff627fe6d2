"""SA and RA of a network whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Listener
from two_pixels import two_pixels

from abcrown_graft.assembly import inputs
from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError, UnsupportedError
from abcrown_graft.pipeline.evaluation import evaluate_stage

NET = """
import torch
from torch import nn

def brighter():
    \"\"\"Two classes: which of two pixels is brighter.\"\"\"
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.eye(2)
    return nn.Sequential(nn.Flatten(), layer)
"""


@pytest.fixture
def configured(tmp_path: Path) -> Config:
    return two_pixels(tmp_path, NET, evaluate__limit=None, evaluate__pgd_steps=20)


@pytest.mark.parametrize(("epsilon", "robust"), [(0.0, 0.6), (0.01, 0.6), (0.05, 0.4), (0.2, 0.2), (0.4, 0.0)])
def test_an_image_is_robust_up_to_half_its_margin(configured: Config, epsilon: float, robust: float) -> None:
    path = evaluate_stage(configured.replace({"specification.epsilon": epsilon}), Listener(), "pixels")
    found = json.loads(path.read_text())
    assert (found["standard_accuracy"], found["robust_accuracy"]) == (pytest.approx(0.6), pytest.approx(robust))


def test_the_file_says_what_was_measured(configured: Config) -> None:
    listener = Listener()
    path = evaluate_stage(configured, listener, "baseline")
    assert path.name == "evaluation_baseline.json"
    found = json.loads(path.read_text())
    about = {"images": 5, "epsilon": 0.05, "pgd_steps": 20, "split": "test", "dataset": configured["data.dataset"]}
    assert about.items() <= found.items()
    assert found["weights"] == inputs.configured_model(configured).identity.weights
    assert listener.lines[0].startswith("baseline: SA 60.00%, RA 40.00% (PGD-20, epsilon 0.05, 5 test images of ")


def test_only_the_first_images_are_taken_where_there_is_a_limit(configured: Config) -> None:
    path = evaluate_stage(configured.replace({"evaluate.limit": 3}), Listener())
    found = json.loads(path.read_text())
    assert path.name == "evaluation_model.json"
    assert (found["images"], found["standard_accuracy"]) == (3, 1.0)


@pytest.mark.parametrize(
    ("changed", "kind", "told"),
    [
        ({"evaluate.limit": 6}, ConfigError, "evaluate.limit: 6, the split has 5 images"),
        ({"specification.epsilon": None}, ConfigError, "specification.epsilon: not set"),
        ({"specification.norm": 2.0}, UnsupportedError, "specification.norm: 2.0 is not implemented"),
        ({"data.num_outputs": 10}, ConfigError, "data.num_outputs: 10, the model has 2 outputs"),
    ],
)
def test_a_wrong_setting_writes_nothing(
    configured: Config, tmp_path: Path, changed: dict[str, object], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        evaluate_stage(configured.replace(changed), Listener())
    assert not (tmp_path / "out").exists()
