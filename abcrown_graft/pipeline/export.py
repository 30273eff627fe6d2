"""A benchmark folder for other verifiers: the network as ONNX, its properties as VNN-LIB, and their list.

FOLDER/onnx/NAME.onnx
FOLDER/vnnlib/NAME_7.vnnlib      image 7 of the data set, and so on
FOLDER/instances.csv             network, property and seconds; written last
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from abcrown_graft.assembly.artifacts import artifact
from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.bounds.evaluation import unexplained, value_and_rounding
from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError, ModelError
from abcrown_graft.formats.onnx.export import PRODUCER, export_onnx
from abcrown_graft.formats.onnx.reader import read_onnx
from abcrown_graft.formats.onnx.runtime import check_against_onnxruntime
from abcrown_graft.formats.vnnlib.instances import Instance, write_instances
from abcrown_graft.formats.vnnlib.query import Clause
from abcrown_graft.formats.vnnlib.write import write_vnnlib
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.network.forward import evaluate
from abcrown_graft.pipeline.exportable import Exportable, prepare_export

LIST = "instances.csv"
PROBES = 8  # boxes with a point each


def export_stage(config: Config, reporter: Reporter) -> Path:
    """Writes the configured network and the properties of the configured images; the folder.

    The file is read back and compared with the network, and with onnxruntime if that is installed. Images that
    violate their property themselves (misclassified ones) are left out, as VNN-COMP's benchmarks leave them out.

    Raises:
        ConfigError: the folder holds a benchmark already, or an option cannot be meant.
        DataError: no image is left.
        UnsupportedError: the network has an operator that cannot be exported.
        ModelError: the file would not say what the network does.
    """
    folder = _folder(config)
    made = prepare_export(config)
    onnx_file = folder / "onnx" / f"{made.name}.onnx"
    export_onnx(made.network, onnx_file, made.opset, _about(made))
    _check_file(onnx_file, made)
    reporter.say(f"network: {onnx_file.resolve()} ({_described(made)})")
    if made.left_out:
        count, numbers = len(made.left_out), ", ".join(map(str, made.left_out))
        total = count + len(made.indices)
        reporter.say(f"left out, misclassified or violated by the image itself: {count} of {total}: {numbers}")
    write_instances(folder / LIST, _write_properties(made, folder, onnx_file, reporter))
    reporter.say(f"instances: {len(made.indices)}, {made.seconds:g} seconds each")
    return folder


def unsafe_clauses(specification: Specification) -> list[Clause]:
    """The outputs that violate a specification of a batch of one: some clause has no positive literal there."""
    (rows,), (offsets,) = specification.rows.numpy(), specification.offsets.numpy()
    return [Clause(clause, constants) for clause, constants in zip(rows, offsets, strict=True)]


def _folder(config: Config) -> Path:
    folder = artifact(config, "export.dir")
    if (folder / LIST).exists():
        raise ConfigError(f"export.dir: {folder / LIST} exists; name another folder with --export_dir, or delete it")
    return folder


def _about(made: Exportable) -> dict[str, str]:
    """What goes into the file's metadata; no paths, so that the same network makes the same file anywhere."""
    return {
        f"{PRODUCER}.model.architecture": made.model.identity.architecture,
        f"{PRODUCER}.model.weights": made.model.identity.weights,
        f"{PRODUCER}.grafted": ", ".join(f"{site}: {count}" for site, count in made.model.grafted.items()),
        f"{PRODUCER}.normalization": "outside" if made.normalized else "inside",
        f"{PRODUCER}.mean": str(made.normalize.mean.flatten().tolist()),
        f"{PRODUCER}.std": str(made.normalize.std.flatten().tolist()),
    }


def _described(made: Exportable) -> str:
    neurons = sum(torch.Size(shape).numel() for shape in made.network.sites.values())
    grafted = sum(made.model.grafted.values())
    return f"opset {made.opset}, {grafted} of {neurons} neurons grafted, takes {_units(made)}"


def _units(made: Exportable) -> str:
    return "normalised inputs" if made.normalized else "pixels of [0, 1]"


def _check_file(path: Path, made: Exportable) -> None:
    """Raises ModelError unless the file gives the network's outputs at random points of the boxes."""
    box = made.specification.box[:PROBES]
    found = read_onnx(path)
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(box.lower.shape, generator=generator, dtype=torch.float64)
    points = box.lower + share * (box.upper - box.lower)
    expected, units = (t.flatten(1) for t in value_and_rounding(made.network, points))
    allowed = units * torch.finfo(torch.float32).eps  # the file's constants are rounded to float32
    if (worst := unexplained(evaluate(found.network, points), expected, allowed)) is not None:
        raise ModelError(
            f"{path}: its outputs differ from the network's by {worst[0]:.3g}; rounding explains {worst[1]:.3g}"
        )
    if find_spec("onnxruntime") is not None:
        check_against_onnxruntime(found, path, box, n=1)


def _write_properties(made: Exportable, folder: Path, onnx_file: Path, reporter: Reporter) -> list[Instance]:
    instances = []
    with reporter.bar("writing", len(made.indices)) as bar:
        for position, index in enumerate(made.indices):
            path = folder / "vnnlib" / f"{made.name}_{index}.vnnlib"
            one = made.specification[position : position + 1]
            write_vnnlib(path, one.box.lower.numpy(), one.box.upper.numpy(), unsafe_clauses(one), _comment(made, index))
            instances.append(Instance(onnx_file, path, made.seconds))
            bar.advance()
    return instances


def _comment(made: Exportable, index: int) -> str:
    where = f"{made.name}: image {index} of {made.data.name} ({made.data.split}), label {int(made.data.labels[index])}"
    return f"{where}\n{made.property_kind}; inputs: {_units(made)}"
