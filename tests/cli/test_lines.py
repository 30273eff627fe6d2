"""The lines around the summary."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch

from abcrown_graft.cli.lines import opening_lines, unr_lines, verdict_line
from abcrown_graft.masks.dump import add, empty
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.verdict import InstanceResult, Verdict

MODEL = ModelIdentity("a", "w", {"1": (4,)})


def test_a_verdict_with_and_without_a_bound() -> None:
    result = InstanceResult(7, 3, 5, Verdict.FALSIFIED, "unsafe-pgd", 0.12345)
    assert verdict_line(result) == "idx: 7, label: 3, predicted: 5, Result: unsafe-pgd in 0.1235 seconds"
    bounded = InstanceResult(7, 3, 3, Verdict.VERIFIED, "safe-incomplete", 2.0, lower_bound=0.25)
    assert verdict_line(bounded).endswith("Result: safe-incomplete in 2.0000 seconds, margin at least 0.25")


def test_unr_under_both_denominators() -> None:
    # Images 0 and 1 have one and two unstable neurons, of four of which one is grafted.
    dump = add(empty(MODEL, {"1": 1}, {}), [0, 1], {"1": torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]]).bool()})
    assert unr_lines(dump) == ["UNR: 37.50% of all neurons, 50.00% of the ungrafted ones (2 images)"]


def test_a_dump_without_images_has_no_ratio() -> None:
    assert unr_lines(empty(MODEL, {}, {})) == ["UNR: no image of the population was counted"]


def test_the_opening_tells_what_is_left_of_earlier_runs() -> None:
    dump = add(empty(MODEL, {}, {}), [4], {"1": torch.ones(1, 4).bool()})
    results = SimpleNamespace(kept=Path("out.1.txt"), done={0: None, 1: None})
    recorder = SimpleNamespace(dump=dump, path=Path("d.st"))
    run = SimpleNamespace(
        results=results, indices=[0, 1, 2], recorder=recorder, instances=SimpleNamespace(noun="image")
    )
    assert opening_lines(run) == [
        "earlier results kept as out.1.txt",
        "resuming: 2 of 3 images are done",
        "instability: going on with 1 images counted in d.st",
    ]


def test_the_opening_of_a_first_run_is_empty() -> None:
    results = SimpleNamespace(kept=None, done={})
    assert opening_lines(SimpleNamespace(results=results, indices=[0], recorder=None)) == []
