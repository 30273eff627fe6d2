"""What all tests share: helpers in `support/`, hypothesis without time limits, one thread for small networks,
nothing of the machine's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
# `pythonpath` of setup.cfg, for the processes that tests start.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

if "PYTEST_XDIST_WORKER" in os.environ:  # `pytest -n auto`: one worker for each core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("abcrown_graft", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("abcrown_graft")


@pytest.fixture(scope="session", autouse=True)
def no_machine() -> Iterator[None]:
    """No α,β-CROWN and no data sets of the machine's change what is tested.

    Tests that need them read the variables when they are imported.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ABCROWN_HOME", "AUTO_LIRPA_HOME", "ABCROWN_GRAFT_DATA"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks of a few neurons are too small to share among threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
