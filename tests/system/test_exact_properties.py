"""What is proved is the property that the user's numbers define, in exact arithmetic, by whatever way they come in.

The box that the engine bounds is recorded where it decides. It has to hold the exact one, and hardly more; where
counterexamples may lie has to be inside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ways_in import LONG, NUMPY, SHAPE, TORCH, WAYS, Way, configured, customized, exact, plain, single, some_floats

from abcrown_graft.assembly import effort
from abcrown_graft.assembly.image_instances import configured_images
from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config
from abcrown_graft.engines.abcrown.instances import instance_tensors
from abcrown_graft.engines.native.engine import prepare_native
from abcrown_graft.errors import DataError
from abcrown_graft.geometry.box import Box
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify import problem
from abcrown_graft.verify.problem import Batch

RADII = ["0.00784313725", "0.1", "0", "1e-3", "0.25", "0.30000000000000000001", "0.1000000000000000055511151231257828"]
SLACK = Fraction(2) ** -51  # a few units in the last place of float64, below one


@pytest.fixture
def proved(monkeypatch: pytest.MonkeyPatch) -> list[Box]:
    """The boxes that the native engine decides on, as it takes them."""
    boxes: list[Box] = []
    bound = problem.bound_network

    def remembering(network: Any, box: Box, method: str = "crown", rigorous: bool = False, **rest: Any) -> Any:
        if rigorous:
            boxes.append(box)
        return bound(network, box, method, rigorous=rigorous, **rest)

    monkeypatch.setattr(problem, "bound_network", remembering)
    return boxes


def check_holds(box: Box, lower: Sequence[Fraction], upper: Sequence[Fraction], slack: Fraction = SLACK) -> None:
    """A box of one input holds the exact one, and exceeds it by `slack` at most."""
    assert box.lower.dtype == box.upper.dtype == torch.float64
    for low, high, exact_low, exact_high in zip(*ends(box), lower, upper, strict=True):
        assert exact_low - slack <= low <= exact_low, "lower"
        assert exact_high <= high <= exact_high + slack, "upper"


def ends(box: Box) -> tuple[list[Fraction], list[Fraction]]:
    lower, upper = ([Fraction(value) for value in end.double().flatten().tolist()] for end in (box.lower, box.upper))
    return lower, upper


def ball(way: Way, radius: str) -> tuple[list[Fraction], list[Fraction]]:
    """Within the decimal radius of the pixels, or of the float32 that the model is given, in [0, 1]."""
    both = [(pixel, single(pixel)) for pixel in way.pixels]
    lower = [max(min(pair) - Fraction(radius), Fraction(0)) for pair in both]
    return lower, [min(max(pair) + Fraction(radius), Fraction(1)) for pair in both]


def specification_of(config: Config) -> tuple[Batch, Box, Box]:
    """The configured batch, its box, and where counterexamples lie."""
    images = configured_images(config, "cpu")
    (group,) = images.groups(images.indices, len(images.indices))
    batch = Batch(group.subject, effort.verify_settings(config), group.cases)
    return batch, batch.specification.box, batch.specification.inside


def check_inside(inside: Box, way: Way, radius: str) -> None:
    """Every number there is within float64's radius of the pixel and of its float32, or is the latter."""
    low, high = ends(inside)
    for at, pixel in enumerate(way.pixels):
        given, room = single(pixel), Fraction(float(radius))
        exact_low = max(max(pixel, given) - room, Fraction(0))
        exact_high = min(min(pixel, given) + room, Fraction(1))
        assert low[at] == given < exact_low or exact_low <= low[at] <= exact_low + SLACK
        assert high[at] == given > exact_high or exact_high - SLACK <= high[at] <= exact_high


@pytest.mark.parametrize("name", WAYS)
def test_the_ball_around_every_kind_of_image(tmp_path: Path, proved: list[Box], name: str) -> None:
    way = WAYS[name](tmp_path)
    config = configured(tmp_path, way, plain(way), RADII[0])
    (result,) = prepare_native(config).run()
    assert result.verdict is Verdict.VERIFIED and len(proved) == 1
    check_holds(proved[0], *ball(way, RADII[0]))
    check_inside(specification_of(config)[2], way, RADII[0])


@pytest.mark.parametrize("name", ["MNIST", "npz u1", "npz f4", "npz f8"])
@pytest.mark.parametrize("radius", RADII)
def test_the_radius_is_the_decimal_of_the_configuration(
    tmp_path: Path, proved: list[Box], name: str, radius: str
) -> None:
    way = WAYS[name](tmp_path)
    config = configured(tmp_path, way, plain(way), radius)
    (result,) = prepare_native(config).run()
    assert result.verdict is Verdict.VERIFIED
    check_holds(proved[0], *ball(way, radius))
    check_inside(specification_of(config)[2], way, radius)


@pytest.mark.parametrize("name", WAYS)
def test_the_image_itself_is_what_its_file_says_and_what_the_model_is_given(tmp_path: Path, name: str) -> None:
    way = WAYS[name](tmp_path)
    config = configured(tmp_path, way, plain(way), RADII[0])
    _, box, inside = specification_of(config.replace({"specification.robustness_type": "clean-acc"}))
    check_holds(box, *ball(way, "0"))
    assert ends(inside) == ([single(pixel) for pixel in way.pixels],) * 2


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize(("mean", "std"), [(0.1307, 0.3081), ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.201])])
def test_normalised_boxes_in_float32_hold_the_exact_ones(tmp_path: Path, name: str, mean: Any, std: Any) -> None:
    way = WAYS[name](tmp_path)
    channels = way.shape[0]
    if isinstance(mean, list) and channels == 1:
        mean, std = mean[:1], std[:1]
    config = configured(tmp_path, way, plain(way), RADII[0], mean, std)
    found = instance_tensors(config, specification_of(config)[0])
    exact_lower, exact_upper = ball(way, RADII[0])
    size = len(way.pixels) // channels
    means, stds = ([single(Fraction(value)) for value in np.ravel(entry).tolist()] for entry in (mean, std))
    low, high = ends(Box(found["lower"], found["upper"]))
    for at in range(len(way.pixels)):
        m, s = (values[at // size if len(values) > 1 else 0] for values in (means, stds))
        for given, pixel, outwards in ((low[at], exact_lower[at], -1), (high[at], exact_upper[at], 1)):
            assert 0 <= outwards * (given - (pixel - m) / s) <= Fraction(2) ** -21


def bounded(folder: Path, kind: str, lower: Any, upper: Any) -> Way:
    """An image with bounds, in an archive or from a function."""
    images, labels = some_floats().astype(np.float32), np.zeros(1, np.int64)
    if kind == "npz":
        np.savez(folder / "own.npz", x=images, y=labels, num_classes=10, data_min=lower, data_max=upper)
        return Way(str(folder / "own.npz"), folder, SHAPE, [])
    if kind == "torch":
        images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    dataset = customized(folder, f"{kind}_images", X=images, labels=labels, data_min=lower, data_max=upper)
    return Way(dataset, folder, SHAPE, [])


KINDS = [*(("npz", kind) for kind in (*NUMPY, LONG)), *(("numpy", kind) for kind in (*NUMPY, LONG))]


@pytest.mark.parametrize(("kind", "dtype"), [*KINDS, *(("torch", dtype) for dtype in TORCH)])
def test_bounds_of_every_type(tmp_path: Path, proved: list[Box], kind: str, dtype: Any) -> None:
    middle = some_floats().astype(LONG)
    tenth, third = LONG.type(1) / 10, LONG.type(1) / 3  # in more digits than float64 has, where there are more
    lower, upper = middle - tenth, middle + third
    if kind == "torch":
        lower, upper = (torch.from_numpy(values.astype("f8")).to(dtype) for values in (lower, upper))
        exact_ends = [[Fraction(value) for value in end.flatten().tolist()] for end in (lower, upper)]
    else:
        lower, upper = lower.astype(dtype), upper.astype(dtype)
        exact_ends = [exact(lower), exact(upper)]
    way = bounded(tmp_path, kind, lower, upper)
    (result,) = prepare_native(configured(tmp_path, way, plain(way), None)).run()
    assert result.verdict is Verdict.VERIFIED
    check_holds(proved[0], *exact_ends)


@pytest.mark.skipif(LONG.itemsize == 8, reason="long double is float64 here")
def test_images_that_float64_does_not_hold_are_refused(tmp_path: Path) -> None:
    images = np.ones((1, *SHAPE), LONG) / 3
    np.savez(tmp_path / "own.npz", x=images, y=np.zeros(1, np.int64), num_classes=10)
    way = Way(str(tmp_path / "own.npz"), tmp_path, SHAPE, [])
    with pytest.raises(DataError, match=r"float64 does not hold these .* images; convert them with astype"):
        prepare_native(configured(tmp_path, way, plain(way), RADII[0]))


IDENTITY = """
import torch
from torch import nn

def model():
    layer = nn.Linear(1, 1)
    layer.weight.data, layer.bias.data = torch.ones(1, 1), torch.zeros(1)
    return nn.Sequential(layer)
"""


@pytest.mark.parametrize("number", ["0.7", "0.1", "-0.3", "1e-5", "2.70000000000000000000000001"])
@pytest.mark.parametrize("symbol", ["<=", ">="])
def test_decimals_of_a_property(tmp_path: Path, proved: list[Box], number: str, symbol: str) -> None:
    """At the only input, the output is the number on the right-hand side, which no float64 may be: it is unsafe."""
    lines = ["(declare-const X_0 Real)(declare-const Y_0 Real)", f"(assert (>= X_0 {number}))"]
    lines += [f"(assert (<= X_0 {number}))", f"(assert ({symbol} Y_0 {number}))"]
    (tmp_path / "own.vnnlib").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "net.py").write_text(IDENTITY, encoding="utf-8")
    file = tmp_path / "property.yaml"
    model = {"name": 'Customized("net.py", "model")', "input_shape": [-1, 1]}
    general = {"device": "cpu", "results_file": str(tmp_path / "result.txt"), "complete_verifier": "skip"}
    file.write_text(
        yaml.safe_dump({"general": general, "model": model, "specification": {"vnnlib_path": "own.vnnlib"}}),
        encoding="utf-8",
    )
    (result,) = prepare_native(load_config(file)).run()
    assert result.verdict is not Verdict.VERIFIED and proved
    for box in proved:
        check_holds(box, [Fraction(number)], [Fraction(number)])
