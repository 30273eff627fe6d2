"""The checkouts can be imported from while the tests of this folder run, and only then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import upstream


@pytest.fixture(autouse=True)
def checkouts() -> Iterator[None]:
    """What α,β-CROWN imports when it is needed is found, too."""
    with upstream.visible():
        yield
