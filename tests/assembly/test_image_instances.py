"""Configured images as instances: their groups, and that one of which nothing can be proved costs no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from abcrown_graft.assembly.image_instances import ImageInstances, configured_images
from abcrown_graft.config.experiments import find_config
from abcrown_graft.config.load import load_config
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.runner import Group


@pytest.fixture(scope="module")
def images() -> ImageInstances:
    values: dict[str, Any] = {"data.select_instance": [7, 2, 5, 9, 3]}
    return configured_images(load_config(find_config("digits_graft"), values), "cpu")


def test_groups_have_the_images_in_the_order_asked_for(images: ImageInstances) -> None:
    assert (images.indices, images.noun, images.single) == ([7, 2, 5, 9, 3], "image", False)
    groups = list(images.groups([7, 5, 9, 3], 3))
    assert [[case.index for case in group.cases] for group in groups] == [[7, 5, 9], [3]]
    assert len({id(group.subject) for group in groups}) == 1 and groups[0].timeout is None
    for case in groups[0].cases:
        assert torch.equal(case.clean, images.data.images[case.index])
        assert case.label == int(images.data.labels[case.index])
    assert list(images.groups([], 3)) == []


def test_an_image_whose_target_is_its_label_is_an_error_and_the_others_are_cases(images: ImageInstances) -> None:
    targets = (images.data.labels + 1) % 10
    targets[5] = images.data.labels[5]
    aimed = replace(images, robustness=Robustness(0.1, "specify-target", targets))
    failed, group = aimed.groups(images.indices, 9)
    assert isinstance(failed, InstanceResult) and isinstance(group, Group)
    assert (failed.index, failed.label, failed.verdict) == (5, int(images.data.labels[5]), Verdict.ERROR)
    assert "is the label of the image itself" in failed.reason
    assert [case.index for case in group.cases] == [7, 2, 9, 3]


def test_the_header_names_model_data_and_images(images: ImageInstances) -> None:
    head = images.header(engine="mine", settings={})
    assert list(head) == [
        *("engine", "settings", "model", "architecture", "weights"),
        *("dataset", "split", "data", "mean", "std", "indices"),
    ]
    assert (head["model"], head["indices"]) == ("digits_cnn", [7, 2, 5, 9, 3])
    assert head["weights"] == images.model.identity.weights


def test_a_relative_file_is_not_needed_to_name_a_network(tmp_path: Path, images: ImageInstances) -> None:
    onnx = images.config.replace({"model.name": None, "model.onnx_path": str(tmp_path / "net.onnx")})
    assert replace(images, config=onnx).header()["model"] == "net.onnx"
