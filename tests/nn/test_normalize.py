"""Input normalisation: values, broadcasting, and the settings it refuses."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.errors import ConfigError
from abcrown_graft.nn.normalize import Normalize


def test_each_channel_has_its_own_mean_and_std():
    x = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1).expand(3, 2, 4, 5)
    y = Normalize([0.5, 1.0], [0.25, 2.0], channels=2)(x)
    assert y.shape == x.shape
    assert torch.equal(y[:, 0], torch.full((3, 4, 5), 2.0)) and torch.equal(y[:, 1], torch.full((3, 4, 5), 0.5))


def test_one_number_serves_every_channel_and_any_shape():
    x = torch.rand(3, 7)
    assert torch.equal(Normalize(0.5, [0.25], channels=7)(x), (x - 0.5) / 0.25)
    assert Normalize(0.5, 0.25, channels=7)(x).shape == x.shape


def test_one_mean_goes_with_a_std_per_channel():
    assert torch.equal(Normalize(1.0, [1.0, 2.0])(torch.zeros(1, 2, 1, 1)).flatten(), torch.tensor([-1.0, -0.5]))


def test_the_default_changes_nothing():
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(Normalize()(x), x)


def test_a_checkpoint_does_not_hold_it_but_a_move_takes_it_along():
    layer = Normalize([0.1, 0.2], [0.3, 0.4]).double()
    assert not layer.state_dict()
    assert layer.mean.dtype == layer.std.dtype == torch.float64


def test_its_printed_form_shows_the_numbers():
    assert repr(Normalize(0.5, 0.25)) == "Normalize(mean=[0.5], std=[0.25])"


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.1, 0.2], 1.0, r"data\.mean: \[0\.1, 0\.2\] has 2 entries; give 1 or one per channel \(3\)"),
        (0.0, [1.0] * 4, r"data\.std: .* has 4 entries"),
        (0.0, 0.0, r"data\.std: 0 has an entry that is not positive"),
        (0.0, [1.0, -1.0, 1.0], r"data\.std: 1, -1, 1 has an entry that is not positive"),
        (float("nan"), 1.0, r"data\.mean: nan is not a finite number"),
        (0.0, [1.0, float("inf"), 1.0], r"data\.std: .* is not a finite number or a list of them"),
        ("0.5", 1.0, r"data\.mean: '0\.5' is not a finite number"),
        (1e39, 1.0, r"data\.mean: 1e\+39 is not a finite number"),
        (0.0, 1e-46, r"data\.std: 1e-46 has an entry that is not positive"),
        ([], 1.0, r"data\.mean: \[\] is not a finite number"),
        ([[0.1], 0.2, 0.3], 1.0, r"data\.mean: .* is not a finite number or a list of them"),
    ],
)
def test_unusable_numbers_are_refused(mean, std, message: str):
    with pytest.raises(ConfigError, match=message):
        Normalize(mean, std, channels=3)


def test_mean_and_std_of_different_lengths_are_refused():
    with pytest.raises(ConfigError, match=r"data\.mean has 2 entries and data\.std 3"):
        Normalize([0.1, 0.2], [1.0, 1.0, 1.0])


def test_its_numbers_are_float32_whatever_the_default_is():
    torch.set_default_dtype(torch.float64)
    try:
        layer = Normalize(0.1307, [0.3081, 0.1])
    finally:
        torch.set_default_dtype(torch.float32)
    assert layer.mean.dtype == layer.std.dtype == torch.float32
    assert float(layer.mean) == float(torch.tensor(0.1307, dtype=torch.float32))
