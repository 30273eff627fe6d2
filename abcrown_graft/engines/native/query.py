"""One property in VNN-LIB of one network in ONNX."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from abcrown_graft.assembly import effort
from abcrown_graft.assembly.open_networks import OpenNetwork, make_case, open_onnx
from abcrown_graft.config.load import load_config
from abcrown_graft.errors import ModelError
from abcrown_graft.formats.vnnlib.interface import Interface
from abcrown_graft.formats.vnnlib.read import read_property
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify.cases import verify_cases
from abcrown_graft.verify.problem import VerifySettings
from abcrown_graft.verify.runner import original_output

DEVICE = "cpu"


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known of a property.

    Attributes:
        verdict: `falsified` if an input violates the property, which VNN-LIB calls `sat`.
        interface: what the property declares.
        inputs, outputs: of the counterexample, as onnxruntime computes it: `(n,)`, in the precision of the file.
        reason: what went wrong, where something did.
    """

    verdict: Verdict
    interface: Interface
    inputs: np.ndarray | None = None
    outputs: np.ndarray | None = None
    reason: str | None = None


def verify_query(
    network_path: str | os.PathLike[str],
    query_path: str | os.PathLike[str],
    timeout: float,
    settings: VerifySettings | None = None,
    network_name: str | None = None,
    as_real: bool = False,
) -> Answer:
    """Whether a network has a property, by this package's own engine on the CPU.

    The network is compared with onnxruntime; a counterexample counts only if what onnxruntime computes of it satisfies
    the property's file in exact arithmetic.

    Args:
        network_path: `.onnx` or `.onnx.gz`.
        query_path: VNN-LIB 1.0 or 2.0, `.vnnlib` or `.vnnlib.gz`.
        timeout: seconds in all, reading included.
        settings: how hard to try; its timeout is not read. None for what `abcrown` does without a configuration.
        network_name: which network of the property the file is; None if that goes without saying.
        as_real: read declarations of floating-point tensors as such of real ones: proofs hold in real arithmetic.

    Raises:
        FileFormatError, ModelError, UnsupportedError: a file that cannot be read, or one that does not fit the other.
    """
    started = time.perf_counter()
    path = Path(query_path)
    settings = replace(settings or _default_settings(path), timeout=timeout)
    network = open_onnx(Path(network_path), DEVICE, settings.double)
    wanted = read_property(path, network.inputs, network.outputs)
    _check_name(path, wanted.interface, network_name)
    case = make_case(network, 0, path, wanted)  # refuses what no consent would mend
    _check_consent(path, wanted.interface, as_real)
    case = replace(case, spent=time.perf_counter() - started)
    found: dict[int, Tensor] = {}
    (result,) = verify_cases(network.subject, [case], settings, None, found.__setitem__)
    if result.verdict is Verdict.FALSIFIED:
        return Answer(result.verdict, wanted.interface, *_assignment(network, found[case.index]))
    return Answer(result.verdict, wanted.interface, reason=result.reason)


def _default_settings(path: Path) -> VerifySettings:
    """Those of the command `abcrown` for a property on this device."""
    flags = {"general.device": DEVICE, "specification.vnnlib_path": str(path)}
    return effort.verify_settings(load_config(None, flags))


def _check_name(path: Path, interface: Interface, name: str | None) -> None:
    if name is not None and interface.network not in (None, name):
        raise ModelError(f"{path}: declares the network {interface.network!r}, a file was given for {name!r}")


def _check_consent(path: Path, interface: Interface, as_real: bool) -> None:
    for tensor in (interface.input, interface.output):
        if tensor.element_type != "real" and not as_real:
            raise ModelError(
                f"{path}: {tensor.name} is declared {tensor.element_type}, but proofs hold in real arithmetic; "
                "declare it real, or give --as_real"
            )


def _assignment(network: OpenNetwork, point: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The counterexample and its outputs, both flat, in the precision of the file."""
    return point.flatten().numpy(), original_output(network.subject, point).flatten().numpy()
