"""The options of the search for counterexamples."""

from __future__ import annotations

from dataclasses import dataclass

from abcrown_graft.config.kinds import (
    BOOLEAN,
    INTEGER,
    PATH,
    STEP,
    TEXT,
)
from abcrown_graft.config.settings import Settings, engine_option


@dataclass(frozen=True, kw_only=True)
class AttackOptions(Settings):
    """The section `attack`."""

    pgd_order: str = engine_option(
        "attack.pgd_order",
        TEXT,
        "before",
        "When to attack: before the bounds, after them, in between, or not at all.",
        "--pgd_order",
        choices=("before", "after", "middle", "input_bab", "skip"),
        supported=("before", "skip"),
    )
    pgd_steps: int = engine_option(
        "attack.pgd_steps", INTEGER, 100, "Gradient steps of one attack.", "--pgd_steps", low=0
    )
    pgd_restarts: int = engine_option(
        "attack.pgd_restarts",
        INTEGER,
        30,
        "Random starts of the attack. The native engine takes at least one more than there are classes to reach.",
        "--pgd_restarts",
        low=1,
    )
    pgd_batch_size: int = engine_option(
        "attack.pgd_batch_size",
        INTEGER,
        100000000,
        "Starting points attacked at once; left at its default, 4096 in the native engine.",
        "--pgd_batch_size",
        low=1,
    )
    pgd_early_stop: bool = engine_option(
        "attack.pgd_early_stop",
        BOOLEAN,
        True,
        "Stop at the first counterexample; the flag switches it off.",
        "--no_pgd_early_stop",
    )
    pgd_alpha: float | str = engine_option(
        "attack.pgd_alpha", STEP, "auto", "Length of a step; auto is a quarter of epsilon.", "--pgd_alpha", above=0
    )
    cex_path: str = engine_option(
        "attack.cex_path", PATH, "./test_cex.txt", "File that receives the counterexamples.", "--cex_path"
    )
