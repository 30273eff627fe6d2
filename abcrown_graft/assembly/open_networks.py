"""Networks that VNN-LIB files speak of: opened, compared with onnxruntime, and their properties read."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from abcrown_graft.errors import FileFormatError
from abcrown_graft.formats.onnx.reader import OnnxNetwork, numpy_dtype, read_onnx
from abcrown_graft.formats.onnx.runtime import OnnxruntimeModule, check_against_onnxruntime
from abcrown_graft.formats.vnnlib.interface import Interface
from abcrown_graft.formats.vnnlib.judge import satisfies
from abcrown_graft.formats.vnnlib.read import Property, read_formula, read_property
from abcrown_graft.formats.vnnlib.specify import to_specification
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.models.load import LoadedModel, check_images
from abcrown_graft.verify.case import Case, Judge
from abcrown_graft.verify.problem import Subject

BOXES_COMPARED, POINTS = 4, 4  # of each property


@dataclass(frozen=True, eq=False)
class OpenNetwork:
    """A network that is ready to be verified.

    Attributes:
        name: for messages: the file, or the model definition.
        subject: see there; for a file, `module` is onnxruntime.
        onnx, runtime: what was read from the file, and the file itself; None for a torch model.
        model: the torch model; None for a file.
    """

    name: str
    subject: Subject
    onnx: OnnxNetwork | None = None
    runtime: OnnxruntimeModule | None = None
    model: LoadedModel | None = None

    @property
    def inputs(self) -> int:
        """How many numbers it takes."""
        return math.prod(self.subject.exact.input.shape)

    @property
    def outputs(self) -> int:
        """How many it gives."""
        return math.prod(self.subject.exact.output.shape)


def open_onnx(path: Path, device: str, double: bool) -> OpenNetwork:
    """The network of an ONNX file, with onnxruntime as the judge of its counterexamples.

    Raises:
        FileFormatError, ModelError, UnsupportedError: the file cannot be read, see `read_onnx`, or onnxruntime refuses
            it or is not installed.
    """
    found = read_onnx(path)
    runtime = OnnxruntimeModule(found, path)
    subject = Subject.prepare(runtime, found.network, device, double, found.dtype)
    return OpenNetwork(str(path), subject, found, runtime)


def open_model(name: str, model: LoadedModel, device: str, double: bool) -> OpenNetwork:
    """A torch model as such a network."""
    subject = Subject.prepare(model.module, model.exact, device, double)
    return OpenNetwork(name, subject, model=model)


def read_case(network: OpenNetwork, index: int, path: Path, spent: float = 0.0) -> Case:
    """The property of a file, checked to be about the network; the time this takes counts.

    Raises:
        FileFormatError, UnsupportedError: the file cannot be read, or is about another network.
        ModelError: the network is not what onnxruntime says of its file, or not finite, in the property's boxes.
    """
    started = time.perf_counter()
    found = read_property(path, network.inputs, network.outputs)
    return make_case(network, index, path, found, spent + time.perf_counter() - started)


def make_case(network: OpenNetwork, index: int, path: Path, found: Property, spent: float = 0.0) -> Case:
    """As `read_case`, where the file has been read: `found` is what `read_property` gave for the network's sizes."""
    started = time.perf_counter()
    _check_interface(network, path, found.interface)
    shape = network.subject.exact.input.shape
    specifications = tuple(to_specification([query], shape) for query in found.queries)
    _compare(network, specifications)
    seconds = spent + time.perf_counter() - started
    return Case(index, specifications, judge=_judge(path), spent=seconds, warning=found.warning)


def _check_interface(network: OpenNetwork, path: Path, interface: Interface) -> None:
    """Raises FileFormatError if the property names other tensors, or another precision, than the network's."""
    precision = str(numpy_dtype(network.subject.dtype))
    for declared in (interface.input, interface.output):
        if declared.element_type not in ("real", precision):
            raise FileFormatError(
                f"{path}: {declared.name} is declared {declared.element_type}, {network.name} computes in {precision}"
            )
    if network.onnx is None:
        return
    names = (network.onnx.input_name, network.onnx.output_name)
    for declared, name in zip((interface.input, interface.output), names, strict=True):
        if declared.onnx_name not in (None, name):
            raise FileFormatError(
                f"{path}: {declared.name} is declared to be {declared.onnx_name!r}, {network.name} calls it {name!r}"
            )


def _compare(network: OpenNetwork, specifications: Sequence[Specification]) -> None:
    if not specifications:
        return
    box = Specification.cat(specifications[:BOXES_COMPARED]).box
    if network.model is not None:
        check_images(network.model, box.lower + (box.upper - box.lower) / 2)
    if network.onnx is not None and network.runtime is not None:
        check_against_onnxruntime(network.onnx, network.runtime.path, box, POINTS, module=network.runtime)


def _judge(path: Path) -> Judge:
    """Holds a counterexample against the file once more, in exact arithmetic."""

    def judge(point: Tensor, output: Tensor) -> bool:
        return satisfies(read_formula(path), point.flatten().tolist(), output.flatten().tolist())

    return judge
