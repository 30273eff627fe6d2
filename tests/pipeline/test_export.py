"""The benchmark folder: what is in it, that it says what the configuration says, and what is refused."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from command_line import Finished, Listener, run_main, snapshot
from two_pixels import PIXELS, images, save_pixels, two_pixels

from abcrown_graft.assembly import inputs
from abcrown_graft.cli import abcrown, tools
from abcrown_graft.config.config import Config
from abcrown_graft.engines.native.query import verify_query
from abcrown_graft.errors import AbcrownGraftError, ConfigError, DataError, ModelError, UnsupportedError
from abcrown_graft.formats.onnx.reader import read_onnx
from abcrown_graft.formats.vnnlib.instances import read_instances
from abcrown_graft.formats.vnnlib.read import read_vnnlib
from abcrown_graft.network.forward import evaluate
from abcrown_graft.pipeline import export
from abcrown_graft.pipeline.export import export_stage

NET = """
import torch
from torch import nn

def brighter():
    \"\"\"Two classes: which of two pixels is brighter, behind a hidden layer that changes nothing.\"\"\"
    hidden, layer = nn.Linear(2, 2), nn.Linear(2, 2, bias=False)
    hidden.weight.data, hidden.bias.data, layer.weight.data = torch.eye(2), torch.ones(2), torch.eye(2)
    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), layer)
"""
MEAN, STD = 0.3, 0.7


@pytest.fixture
def configured(tmp_path: Path) -> Config:
    return two_pixels(
        tmp_path,
        NET,
        data__mean=MEAN,
        data__std=STD,
        bab__timeout=7.5,
        specification__epsilon=0.1,
        export__name="brighter",
    )


def exported(config: Config) -> tuple[Path, list[str]]:
    """The folder, and what was said."""
    listener = Listener()
    return export_stage(config, listener), listener.lines


def test_the_folder_is_a_complete_benchmark(configured: Config, tmp_path: Path) -> None:
    folder, _ = exported(configured)
    assert folder == tmp_path / "out" / "export"
    names = ["instances.csv", "onnx/brighter.onnx", *(f"vnnlib/brighter_{k}.vnnlib" for k in range(3))]
    assert list(snapshot(folder)) == names
    lines = [f"onnx/brighter.onnx,vnnlib/brighter_{k}.vnnlib,7.5" for k in range(3)]
    assert (folder / "instances.csv").read_text().splitlines() == lines


def test_misclassified_images_are_left_out_and_named(configured: Config) -> None:
    folder, lines = exported(configured)
    assert lines[1] == "left out, misclassified or violated by the image itself: 2 of 5: 3, 4"
    assert lines[2] == "instances: 3, 7.5 seconds each"
    assert len(read_instances(folder / "instances.csv")) == 3


def test_a_property_is_the_ball_cut_to_pixels_and_every_other_class(configured: Config) -> None:
    folder, _ = exported(configured.replace({"specification.epsilon": 0.25}))
    (query,) = read_vnnlib(folder / "vnnlib" / "brighter_0.vnnlib", 2, 2)
    pixels = torch.tensor(PIXELS[0]).double()
    lowest, highest = (pixels - 0.25).clamp(min=0).numpy(), (pixels + 0.25).clamp(max=1).numpy()
    assert (query.lower <= lowest).all() and np.allclose(query.lower, lowest, rtol=0, atol=1e-15)
    assert (query.upper >= highest).all() and np.allclose(query.upper, highest, rtol=0, atol=1e-15)
    assert [(clause.rows.tolist(), clause.offsets.tolist()) for clause in query.unsafe] == [([[1.0, -1.0]], [0.0])]
    head = (folder / "vnnlib" / "brighter_0.vnnlib").read_text().splitlines()[:2]
    assert head[0].startswith("; brighter: image 0 of ") and head[0].endswith(" (test), label 0")
    assert head[1] == "; verified-acc, l-infinity radius 0.25 in pixels of [0, 1]; inputs: pixels of [0, 1]"


@pytest.mark.parametrize("where", ("inside", "outside"))
def test_the_network_computes_what_the_model_computes(configured: Config, where: str) -> None:
    config = configured.replace({"export.normalization": where})
    folder, _ = exported(config)
    module, pixels = inputs.configured_model(config).module, torch.from_numpy(images())
    fed = pixels if where == "inside" else (pixels - MEAN) / STD
    found = evaluate(read_onnx(folder / "onnx" / "brighter.onnx").network, fed.double())
    assert torch.allclose(found, module(pixels).detach().double(), atol=1e-6)


def test_outside_the_box_is_normalised_outwards(configured: Config) -> None:
    config = configured.replace({"export.normalization": "outside"})
    folder, lines = exported(config)
    assert "takes normalised inputs" in lines[0]
    (query,) = read_vnnlib(folder / "vnnlib" / "brighter_1.vnnlib", 2, 2)
    mean, std = (Fraction(float(np.float32(number))) for number in (MEAN, STD))
    for pixel, low, high in zip(PIXELS[1], query.lower, query.upper, strict=True):
        middle = float(np.float32(pixel))
        assert 0 <= (Fraction(middle - 0.1) - mean) / std - Fraction(float(low)) < Fraction(1, 10**15)
        assert 0 <= Fraction(float(high)) - (Fraction(middle + 0.1) - mean) / std < Fraction(1, 10**15)
    metadata = {e.key: e.value for e in onnx.load(folder / "onnx" / "brighter.onnx").metadata_props}
    assert metadata["abcrown-graft.normalization"] == "outside"
    assert metadata["abcrown-graft.mean"] == str([float(np.float32(MEAN))])


def test_inside_and_outside_have_the_same_verdicts(configured: Config) -> None:
    """Robust up to half the margin: 0.3, 0.15 and 0.025 at radius 0.1."""
    for where in ("inside", "outside"):
        config = configured.replace(
            {"export.normalization": where, "export.dir": f"{configured['pipeline.output']}/{where}"}
        )
        folder, _ = exported(config)
        found = [verify_query(i.onnx, i.vnnlib, 60).verdict for i in read_instances(folder / "instances.csv")]
        assert found == ["verified", "verified", "falsified"], where


def test_two_exports_are_the_same_bytes_wherever_they_lie(configured: Config, tmp_path: Path) -> None:
    folders = [exported(configured.replace({"export.dir": str(tmp_path / name)}))[0] for name in "ab"]
    first, second = map(snapshot, folders)
    assert first == second and len(first) == 5


def test_a_box_of_the_data_set_is_exported_too(configured: Config, tmp_path: Path) -> None:
    bounds = {"data_min": images() - np.float32(0.25), "data_max": images() + np.float32(0.5)}
    path = save_pixels(tmp_path / "boxes.npz", **bounds)
    changed = {"data.dataset": str(path), "specification.type": "box", "specification.epsilon": None}
    folder, _ = exported(configured.replace(changed))
    (query,) = read_vnnlib(folder / "vnnlib" / "brighter_0.vnnlib", 2, 2)
    assert query.lower.tolist() == bounds["data_min"][0].ravel().astype(float).tolist()
    assert query.upper.tolist() == bounds["data_max"][0].ravel().astype(float).tolist()


@pytest.mark.parametrize(
    ("changed", "kind", "told"),
    [
        (
            {"bab.override_timeout": 0.0},
            ConfigError,
            "bab.override_timeout: 0, but a list of instances needs a finite time",
        ),
        ({"export.name": "a/b"}, ConfigError, "export.name: 'a/b' is not made of letters"),
        ({"specification.norm": 2.0}, UnsupportedError, "specification.norm: 2.0 is not implemented"),
        ({"specification.epsilon": None}, ConfigError, "specification.epsilon: not set"),
        ({"data.num_outputs": 10}, ConfigError, "data.num_outputs: 10, the model has 2 outputs"),
        ({"data.select_instance": [3, 4]}, DataError, "all 2 images of .* violate their property themselves"),
    ],
)
def test_a_wrong_setting_writes_nothing(
    configured: Config, tmp_path: Path, changed: dict[str, object], kind: type[AbcrownGraftError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        exported(configured.replace(changed))
    assert not (tmp_path / "out").exists()


def test_a_benchmark_is_never_overwritten(configured: Config) -> None:
    folder, _ = exported(configured)
    before = snapshot(folder)
    with pytest.raises(ConfigError, match=r"export\.dir: .*instances\.csv exists; name another folder"):
        exported(configured.replace({"specification.epsilon": 0.2}))
    assert snapshot(folder) == before


def test_an_interrupted_export_is_no_benchmark_and_is_made_anew(
    configured: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_vnnlib", interrupted)
    with pytest.raises(KeyboardInterrupt):
        exported(configured)
    assert not (tmp_path / "out" / "export" / "instances.csv").exists()
    monkeypatch.undo()
    assert len(read_instances(exported(configured)[0] / "instances.csv")) == 3


def test_a_file_that_says_something_else_is_noticed(
    configured: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = export.export_onnx

    def wrong(network: object, *arguments: object) -> None:
        right(network.map_tensors(lambda t: 1.01 * t), *arguments)

    monkeypatch.setattr(export, "export_onnx", wrong)
    with pytest.raises(ModelError, match="its outputs differ from the network.s by"):
        exported(configured)
    assert not (tmp_path / "out" / "export" / "instances.csv").exists()


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """`abcrown-graft export` on the first digits: its folder, and what it said."""
    folder = tmp_path_factory.mktemp("benchmark") / "digits"
    words = f"export --config digits_graft --select_instance 0 3 6 --export_dir {folder} --export_opset 13"
    return folder, run_main(tools.main, *words.split())


def test_the_command_says_what_was_written(benchmark: tuple[Path, Finished]) -> None:
    folder, found = benchmark
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines() == [
        f"network: {folder}/onnx/digits_graft.onnx (opset 13, 818 of 1636 neurons grafted, takes pixels of [0, 1])",
        "instances: 3, 20 seconds each",
        f"benchmark: {folder}",
    ]


def test_the_grafts_are_there_to_be_read(benchmark: tuple[Path, Finished]) -> None:
    network = read_onnx(benchmark[0] / "onnx" / "digits_graft.onnx").network
    assert sum(int(network.grafted_mask(site).sum()) for site in network.sites) == 818


def test_verdicts_are_those_of_the_model(
    benchmark: tuple[Path, Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The native engine on the model that the configuration names, and on what was written."""
    monkeypatch.chdir(tmp_path)
    words = "--engine native --config digits_graft --select_instance 0 3 6 --timeout 60 --no_progress"
    assert run_main(abcrown.main, *words.split()).code == 0
    records = [json.loads(line) for line in (tmp_path / "out.txt").read_text().splitlines()[1:-1]]
    expected = [record["verdict"] for record in records]
    instances = read_instances(benchmark[0] / "instances.csv")
    assert [verify_query(i.onnx, i.vnnlib, 60).verdict for i in instances] == expected
    assert expected == ["verified", "falsified", "verified"]
