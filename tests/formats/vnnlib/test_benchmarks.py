"""Properties of the competition, read here and by the small reader of the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vnncomp import read_property

from abcrown_graft.formats.vnnlib.instances import read_instances
from abcrown_graft.formats.vnnlib.read import read_vnnlib

BENCHMARKS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the competition's benchmarks are not here", allow_module_level=True)

SHARE = {"test": 1, "mnistfc_2021": 1, "cifar10_resnet_2021": 36, "oval21_2021": 15}  # every n-th file is compared
FILES = [path for name, n in SHARE.items() for path in sorted((BENCHMARKS / name / "vnnlib").iterdir())[::n]]


def test_there_are_enough():
    assert len(FILES) >= 30


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_both_readers_agree(path):
    expected, (found,) = read_property(path), read_vnnlib(path)
    for bound, other, direction in ((found.lower, expected.lower, -1), (found.upper, expected.upper, 1)):
        assert ((bound == other) | (bound == np.nextafter(other, direction * np.inf))).all()
    assert len(found.unsafe) == len(expected.unsafe)
    for clause, disjunct in zip(found.unsafe, expected.unsafe, strict=True):
        assert np.array_equal(clause.rows, np.array([row for row, _ in disjunct]))
        offsets = np.array([offset for _, offset in disjunct])
        assert ((clause.offsets == offsets) | (clause.offsets == np.nextafter(offsets, -np.inf))).all()


@pytest.mark.parametrize("name", SHARE)
def test_the_lists_are_read(name):
    instances = read_instances(BENCHMARKS / name / "instances.csv")
    assert instances and all(i.timeout and i.onnx and i.onnx.suffix == ".onnx" for i in instances)
