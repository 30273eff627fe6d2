"""Published weights load into the definitions and compute what they are known to compute."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from abcrown_graft.models.build import build_model
from abcrown_graft.models.checkpoint import apply_state_dict, fit_keys, load_state_dict
from abcrown_graft.nn.normalize import Normalize

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
WEIGHTS = {
    "cifar_base": "cifar_base",
    "cifar_cnn_a_adv": "cnn_a",
    "cifar_cnn_a_mix": "cnn_a",
    "cifar_conv_small_pgd": "conv_small_cifar",
    "convex_mnist": "cnn_a_mnist",
    "convex_svhn": "cnn_a_svhn",
    "mnist_cnn_a_adv": "cnn_a_mnist",
    "resnet2b": "resnet_2b",
    "resnet4b": "resnet_4b",
}


def shared(path: str) -> Path:
    if not (SHARED / path).is_file():
        pytest.skip(f"{path} is not among the shared data")
    return SHARED / path


def trained(file: str) -> nn.Module:
    path = shared(f"models/{file}.npz")
    model, _ = build_model(WEIGHTS[file])
    apply_state_dict(model, fit_keys(load_state_dict(path)[0], model), path)
    return model.eval()


@pytest.mark.parametrize("file", WEIGHTS)
def test_names_and_shapes_of_the_weights_are_the_definitions(file: str):
    arrays = np.load(shared(f"models/{file}.npz"), allow_pickle=False)
    model = trained(file)
    names = [name.removeprefix("0.") if file in ("cifar_base", "cifar_conv_small_pgd") else name for name in arrays]
    assert list(model.state_dict()) == names
    for name, array in zip(names, arrays.values(), strict=True):
        assert torch.equal(model.state_dict()[name], torch.from_numpy(array))


@pytest.mark.parametrize("file", ("resnet2b", "resnet4b"))
def test_residual_networks_compute_what_their_onnx_files_compute(file: str):
    reference = pytest.importorskip("onnx.reference")
    path = shared(f"benchmarks/cifar10_resnet_2021/onnx/{file[:6]}_{file[6:]}.onnx")
    session = reference.ReferenceEvaluator(str(path))
    images = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    (expected,) = session.run(None, {session.input_names[0]: images})
    with torch.no_grad():
        np.testing.assert_allclose(trained(file)(torch.from_numpy(images)), expected, rtol=1e-4, atol=1e-5)


CIFAR_A = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
CIFAR_BASE = ([0.485, 0.456, 0.406], [0.225, 0.225, 0.225])
CLEAN_ACCURACY = {  # per cent of the first 2,000 test images, rounded, and the normalisation of the training
    "cifar_cnn_a_adv": (70.4, CIFAR_A),
    "cifar_cnn_a_mix": (76.9, CIFAR_A),
    "cifar_conv_small_pgd": (62.5, CIFAR_A),
    "cifar_base": (59.1, CIFAR_BASE),
}


@pytest.mark.parametrize("file", CLEAN_ACCURACY)
def test_clean_accuracy_is_the_published_one(file: str):
    folder = os.environ.get("ABCROWN_GRAFT_DATA")
    if not folder:
        pytest.skip("ABCROWN_GRAFT_DATA does not name a folder with cifar-10-batches-bin")
    rows = np.fromfile(Path(folder) / "cifar-10-batches-bin" / "test_batch.bin", np.uint8, 2000 * 3073)
    labels, pixels = np.split(rows.reshape(2000, 3073), [1], axis=1)
    images = torch.from_numpy(pixels.reshape(2000, 3, 32, 32)).float() / 255
    accuracy, (mean, std) = CLEAN_ACCURACY[file]
    with torch.no_grad():
        predictions = nn.Sequential(Normalize(mean, std, 3), trained(file))(images).argmax(1)
    assert 100 * np.mean(predictions.numpy() == labels[:, 0]) == pytest.approx(accuracy, abs=0.0501)
