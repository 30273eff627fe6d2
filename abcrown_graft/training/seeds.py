"""Independent random streams from one seed, so that no state of a generator has to outlive its use."""

from __future__ import annotations

import numpy as np
import torch


def seed_of(seed: int, *keys: int) -> int:
    """A well-mixed seed for the stream `keys` of a run seeded with `seed` (all non-negative)."""
    return int(np.random.SeedSequence((seed, *keys)).generate_state(1)[0])


def stream(seed: int, *keys: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device` for the stream `keys`; devices of one type give the same draws."""
    return torch.Generator(device).manual_seed(seed_of(seed, *keys))
