from __future__ import annotations

import json

import pytest

from abcrown_graft.errors import FileFormatError
from abcrown_graft.masks.identity import ModelIdentity, explain_difference

MODEL = ModelIdentity("a" * 64, "b" * 64, {"10": (2, 3), "9": (4,)})


def test_the_header_survives_json_with_the_forward_order_of_the_sites():
    again = ModelIdentity.from_header(json.loads(json.dumps(MODEL.to_header())))
    assert again == MODEL
    assert list(again.sites) == ["10", "9"]


@pytest.mark.parametrize(
    "header",
    [
        None,
        [],
        {},
        {"architecture": "a", "weights": "b"},
        {"architecture": 1, "weights": "b", "sites": []},
        {"architecture": "a", "weights": "b", "sites": [["x", [2.5]]]},
        {"architecture": "a", "weights": "b", "sites": [["x", [-1]]]},
        {"architecture": "a", "weights": "b", "sites": [["x", [1]], ["x", [1]]]},
        {"architecture": "a", "weights": "b", "sites": [["x"]]},
    ],
)
def test_a_malformed_header_is_refused_by_the_name_of_its_source(header):
    with pytest.raises(FileFormatError, match=r"^mask\.st: .*model identity"):
        ModelIdentity.from_header(header, "mask.st")


@pytest.mark.parametrize(
    ("sites", "architecture", "weights", "line"),
    [
        ({"10": (2, 3)}, "a" * 64, "b" * 64, "missing sites: '9'"),
        ({"10": (2, 3), "9": (4,), "x": (1,)}, "a" * 64, "b" * 64, "extra sites: 'x'"),
        ({"10": (3, 2), "9": (4,)}, "a" * 64, "b" * 64, "sites of another shape: '10' (3, 2) instead of (2, 3)"),
        (MODEL.sites, "c" * 64, "b" * 64, f"same sites, another structure (architecture {'c' * 12} instead of"),
        (MODEL.sites, "a" * 64, "c" * 64, "same structure, other weights"),
        (MODEL.sites, "a" * 64, "b" * 64, "no difference"),
    ],
)
def test_the_difference_is_one_line(sites, architecture, weights, line):
    difference = explain_difference(MODEL, ModelIdentity(architecture, weights, sites))
    assert difference.startswith(line)
    assert "\n" not in difference


def test_many_differing_sites_are_abbreviated():
    found = ModelIdentity("a", "b", {**MODEL.sites, **{f"x{i}": (1,) for i in range(9)}})
    assert explain_difference(MODEL, found) == "extra sites: 'x0', 'x1', 'x2', 'x3' and 5 more"
