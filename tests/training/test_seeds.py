"""Streams of one seed are reproducible and differ from each other."""

from __future__ import annotations

import torch

from abcrown_graft.training.seeds import seed_of, stream


def draws(*keys: int) -> tuple[float, ...]:
    return tuple(torch.rand(4, generator=stream(*keys)).tolist())


def test_a_stream_is_reproducible() -> None:
    assert draws(3, 1) == draws(3, 1)


def test_streams_differ_by_seed_and_by_key() -> None:
    seen = {draws(seed, *keys) for seed in range(5) for keys in [(), (1,), (2,), (1, 1), (1, 2)]}
    assert len(seen) == 25


def test_seeds_are_spread_out() -> None:
    assert len({seed_of(0, key) for key in range(1000)}) == 1000
