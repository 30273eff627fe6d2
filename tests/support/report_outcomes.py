"""Outcomes of two seeds of one method."""

from __future__ import annotations

from dataclasses import replace

from abcrown_graft.report.outcome import Outcome

ONE = Outcome(
    run="a", name="grafted", grafted=0.5, unr=0.1, unr_ungrafted=0.2, verified=0.4, clean=0.9, robust=0.6,
    seconds=1.0, undecided=10, instances=100, counted=90, evaluated=500, label="grafting 50 %", seed=1,
    problem=("cnn_a", "MNIST", "0.1"),
)  # fmt: skip
TWO = replace(ONE, run="b", seed=2, verified=0.6, seconds=3.0, undecided=13)
