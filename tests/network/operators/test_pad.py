"""Padding, by hand; what holds for all affine operators is in `test_affine`."""

from __future__ import annotations

import pytest

from abcrown_graft.network import operators as op

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("amounts", "fits"), [((1, 0, 2, 1), True), ((1, 0), False), ((-1, 0, 0, 0), False)])
def test_windows_go_through_padding_of_the_plane(amounts: tuple[int, ...], fits: bool):
    assert op.Pad(amounts).takes_windows((2, 5, 5)) is fits
