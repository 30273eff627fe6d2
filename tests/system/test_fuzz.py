"""Damaged ONNX and VNN-LIB files given to the command: a verdict only of files that were read whole, never a traceback.

`FUZZ_EXAMPLES` sets the number of pairs of files; the suite tries a few.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import Finished, run_main
from hypothesis import given, settings
from hypothesis import strategies as st
from vnncomp import Property, evaluate_onnx, parse_property
from vnnlib_files import FAILS, HARD, HOLDS, norms, property_text

from abcrown_graft.cli.abcrown import main
from abcrown_graft.formats.counterexample import read_counterexample

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("one_thread")

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
SECONDS = 2.0
GRACE = 20.0  # reading files and starting solvers, on a machine that does other things too
NETWORKS = [norms().SerializeToString(), norms(1).SerializeToString()]
PROPERTIES = [property_text(asserted).encode() for asserted in (HOLDS, FAILS, HARD)]
PIECES = [b"(", b")", b";", b"\n", b"X_0", b"Y_1", b"1e9", b"nan", b"-", b"and", b"or", b"<=", b"assert", b"\0", b"0"]


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A file with up to three places changed, left out, repeated or cut off."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 3))):
        at, length = draw(st.integers(1, len(content) - 1)), draw(st.integers(1, 12))
        match draw(st.sampled_from(["flip", "delete", "repeat", "cut", "piece"])):
            case "flip":
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "delete":
                del content[at : at + length]
            case "repeat":
                content[at:at] = content[at : at + length]
            case "cut":
                del content[at:]
            case "piece":
                content[at : at + draw(st.integers(0, 3))] = b" " + draw(st.sampled_from(PIECES)) + b" "
        if len(content) < 2:
            break
    return bytes(content)


@given(damaged(NETWORKS), damaged(PROPERTIES))
@settings(max_examples=EXAMPLES)
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, network: bytes, property: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    files = {"network.onnx": network, "property.vnnlib": property}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for name in ("out.jsonl", "cex.txt"):
        (folder / name).unlink(missing_ok=True)
    finished = run_main(
        main,
        *("--device", "cpu", "--engine", "native", "--pgd_restarts", "2", "--pgd_steps", "10"),
        *("--onnx_path", folder / "network.onnx", "--vnnlib_path", folder / "property.vnnlib", "--save_adv_example"),
        *("--override_timeout", SECONDS, "--results_file", folder / "out.jsonl", "--cex_path", folder / "cex.txt"),
    )
    if finished.code:
        assert_refused(finished, folder)
    else:
        assert_true(finished, folder)


def assert_refused(finished: Finished, folder: Path) -> None:
    """One line that names a file, no verdict."""
    assert finished.code == 2 and "Result:" not in finished.out
    (line,) = finished.err.splitlines()
    assert line.startswith("error: ") and any(name in line for name in ("network.onnx", "property.vnnlib"))
    assert not (folder / "cex.txt").exists()


def assert_true(finished: Finished, folder: Path) -> None:
    """A verdict that other readers and samples do not contradict, in time."""
    (verdict,) = [line.split(": ")[1] for line in finished.out.splitlines() if line.startswith("Result: ")]
    (seconds,) = [float(line.split(": ")[1]) for line in finished.out.splitlines() if line.startswith("Time: ")]
    assert seconds < SECONDS + GRACE
    assert verdict in ("sat", "unsat", "unknown", "timeout")
    try:
        wanted = parse_property((folder / "property.vnnlib").read_text(encoding="utf-8"))
    except ValueError:
        return  # two boxes or differences, which the other reader does not know
    network = onnx.load(folder / "network.onnx")
    if verdict == "sat":
        point = read_counterexample(folder / "cex.txt")[0].double().numpy().reshape(1, -1)
        assert (point >= wanted.lower - 1e-6).all() and (point <= wanted.upper + 1e-6).all()
        assert excess(network, wanted, point).min() <= 1e-5
    elif verdict == "unsat" and (wanted.lower <= wanted.upper).all():
        units = np.random.default_rng(0).random((40, wanted.lower.size))
        points = wanted.lower + np.vstack([units, units.round()]) * (wanted.upper - wanted.lower)
        assert excess(network, wanted, points).min() > -1e-5


def excess(network: onnx.ModelProto, wanted: Property, points: np.ndarray) -> np.ndarray:
    """At most zero where the outputs, by onnxruntime, are unsafe; `(n,)` of `(n, inputs)`."""
    return np.array([wanted.excess(outputs) for outputs in evaluate_onnx(network, points).astype(np.float64)])
