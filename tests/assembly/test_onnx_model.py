"""An ONNX file as the classifier of a data set: the verdicts, and the instability, of the model it was made from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from onnx_models import model_of, node, saved, weights

from abcrown_graft.assembly import inputs
from abcrown_graft.assembly.onnx_model import classifier
from abcrown_graft.config.config import Config
from abcrown_graft.config.experiments import find_config
from abcrown_graft.config.load import load_config
from abcrown_graft.engines.native.engine import prepare_native
from abcrown_graft.errors import ConfigError, FileFormatError, ModelError
from abcrown_graft.formats.onnx import reader
from abcrown_graft.formats.onnx.export import export_onnx
from abcrown_graft.masks import dump as dumps

COMMON = {"data.end": 8, "attack.pgd_steps": 5, "attack.pgd_restarts": 2}


def of_module(folder: Path, **changed: object) -> Config:
    """The grafted digits as they are, results and instability under `folder`."""
    files = {"general.results_file": str(folder / "out.txt"), "instability.dump": str(folder / "dump.st")}
    changed = {key.replace("__", "."): value for key, value in changed.items()}
    return load_config(find_config("digits_graft"), {**COMMON, **files, **changed})


def of_file(folder: Path, onnx: Path, **changed: object) -> Config:
    """The same images and property for an ONNX file."""
    values = {
        **{"general.device": "cpu", "data.dataset": "DIGITS", "specification.epsilon": 0.15},
        **{"general.results_file": str(folder / "out.txt"), "instability.dump": str(folder / "dump.st")},
        **{"model.onnx_path": str(onnx)},
    }
    changed = {key.replace("__", "."): value for key, value in changed.items()}
    return load_config(None, {**COMMON, **values, **changed})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grafted digits' network, normalisation inside."""
    folder = tmp_path_factory.mktemp("exported")
    network = inputs.configured_model(of_module(folder)).exact
    export_onnx(network, folder / "digits.onnx", 13, {})
    return folder / "digits.onnx"


def test_verdicts_and_instability_are_those_of_the_module(tmp_path: Path, exported: Path) -> None:
    for name in ("module", "file"):
        (tmp_path / name).mkdir()
    ours = list(prepare_native(of_module(tmp_path / "module")).run())
    run = prepare_native(of_file(tmp_path / "file", exported, bab__timeout=20))
    theirs = list(run.run())
    assert [(r.index, r.label, r.predicted, r.verdict) for r in theirs] == [
        (r.index, r.label, r.predicted, r.verdict) for r in ours
    ]
    counted = [dumps.load(tmp_path / name / "dump.st") for name in ("module", "file")]
    assert torch.equal(counted[0].indices, counted[1].indices)
    assert counted[0].unr() == pytest.approx(counted[1].unr(), abs=1e-4)
    assert list(counted[1].model.sites) == list(run.instances.model.network.sites)
    assert any(run.instances.model.grafted.values()), "grafted activations are recognised in the file"


def test_the_mean_and_standard_deviation_are_applied_before_the_file(tmp_path: Path) -> None:
    flat = saved(model_of(node("MatMul", "x w"), shape=(1, 64), output=(1, 10), w=weights(64, 10)), tmp_path)
    config = of_file(tmp_path, flat, data__mean=0.5, data__std=0.25)
    data = inputs.images(config)
    model = classifier(config, data)
    expected = (data.images[:3].flatten(1).double() - 0.5) / 0.25 @ torch.from_numpy(weights(64, 10)).double()
    torch.testing.assert_close(model.module(data.images[:3]), expected, rtol=1e-5, atol=1e-5)
    assert model.input_shape == (1, 8, 8) and model.exact.input.shape == (1, 8, 8)


def test_images_that_would_be_rearranged_are_refused(tmp_path: Path) -> None:
    other = saved(model_of(node("MatMul", "x w"), shape=(1, 4, 16), output=(1, 4, 3), w=weights(16, 3)), tmp_path)
    config = of_file(tmp_path, other)
    with pytest.raises(
        ModelError, match=r"model\.onnx: the network takes \(4, 16\), which inputs of shape \(1, 8, 8\)"
    ):
        classifier(config, inputs.images(config))


def test_a_file_that_is_read_wrongly_is_noticed(tmp_path: Path, exported: Path, monkeypatch) -> None:
    simplified = reader.simplified

    def wrong(tensor: torch.Tensor) -> torch.Tensor:
        return tensor * 1.01 if tensor.is_floating_point() else tensor

    monkeypatch.setattr(reader, "simplified", lambda network: simplified(network).map_tensors(wrong))
    config = of_file(tmp_path, exported)
    with pytest.raises(ModelError, match=r"digits\.onnx: outputs differ from onnxruntime's by 0\."):
        classifier(config, inputs.images(config))


@pytest.mark.parametrize(
    ("changed", "error", "told"),
    [
        ({"model__onnx_path": "nowhere.onnx"}, FileFormatError, r"nowhere\.onnx: no such file"),
        ({"model__name": "digits_cnn"}, ConfigError, r"model\.name: the network is the ONNX file of model\.onnx_path"),
        ({"graft__mask": "m.st"}, ConfigError, r"graft\.mask: the network is the ONNX file"),
        ({"data__std": 0.0001, "data__mean": [1.0, 2.0]}, ConfigError, r"data\.mean: .* has 2 entries"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, exported: Path, changed, error, told: str) -> None:
    config = of_file(tmp_path, exported, **changed)
    with pytest.raises(error, match=told):
        classifier(config, inputs.images(config))


def test_stages_that_train_want_a_module(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.onnx_path: only verification takes an ONNX file"):
        inputs.configured_model(of_file(tmp_path, exported))


@pytest.mark.parametrize("key", ["general__csv_name", "specification__vnnlib_path"])
def test_properties_have_no_images(tmp_path: Path, exported: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="this command works on images; remove it"):
        inputs.images(of_file(tmp_path, exported, **{key: "a"}))
