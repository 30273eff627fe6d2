"""Runs α,β-CROWN with instruments: `python plugin_driver.py CONFIG.yaml NOTES.jsonl ...`.

For each instance one JSON line: its status and seconds, the peak of memory; how many neurons branching split, how many
of those are grafted; how many subproblems there were; what the incomplete stage took (CPU seconds) and its bounds of
the margins; and by how much concrete inputs leave the pre-activation intervals that `bab-refine` refined.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import abcrown
import bab
import complete_verifier_func
import lp_mip_solver
import torch
from abcrown import Logger as OriginalLogger
from beta_CROWN_solver import LiRPANet

SAMPLES = 20_000
noted: dict[str, Any] = {}


def fresh() -> dict[str, Any]:
    """What is noted of an instance that has just begun."""
    counts = dict.fromkeys(("splits", "grafted_splits", "domains", "refined"), 0)
    return {**counts, "violation": 0.0, "build_cpu": 0.0, "margins": None}


def _wrap(owner: Any, name: str) -> Callable[[Callable[..., Any]], None]:
    """A decorator that replaces `owner.name` by its function, which takes the original one first."""
    original = getattr(owner, name)

    def install(function: Callable[..., Any]) -> None:
        setattr(owner, name, functools.wraps(original)(functools.partial(function, original)))

    return install


def _masks(net: Any) -> dict[str, torch.Tensor]:
    """Of the grafted neurons, by the name of the node in front: of our operator, or upstream's example."""
    masks = {}
    for node in net.relus:
        mask = getattr(node, "mask", getattr(node, "_mask", None))
        if mask is not None:
            masks[node.inputs[0].name] = mask.flatten() > 0
    return masks


def is_grafted(net: Any, masks: dict[str, torch.Tensor], decision: Any) -> bool:
    """Whether a decision (number or name of a split node, number of the neuron) splits a grafted neuron."""
    node, neuron, *_ = decision
    mask = masks.get(node if isinstance(node, str) else net.split_nodes[int(node)].name)
    return mask is not None and bool(mask[int(neuron)])


def install() -> None:
    """Puts the instruments in."""

    @_wrap(bab, "get_branching_heuristic")
    def counting(choose: Any, net: Any) -> Any:
        heuristic = choose(net)
        decide, masks = heuristic.get_branching_decisions, _masks(net.net)

        def counted(*args: Any, **kwargs: Any) -> Any:
            decisions, *rest = decide(*args, **kwargs)
            noted["splits"] += len(decisions)
            noted["grafted_splits"] += sum(is_grafted(net, masks, decision) for decision in decisions)
            return decisions, *rest

        heuristic.get_branching_decisions = counted
        return heuristic

    @_wrap(complete_verifier_func, "general_bab")
    def searching(search: Any, *args: Any, **kwargs: Any) -> Any:
        result = search(*args, **kwargs)
        noted["domains"] += int(result[1])
        return result

    def building(build: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        result = build(self, *args, **kwargs)
        noted["build_cpu"] += time.process_time() - start
        noted["margins"] = result[0].flatten().tolist()
        return result

    build = LiRPANet.build
    LiRPANet.build = lambda self, *args, **kwargs: building(build, self, *args, **kwargs)
    refine = lp_mip_solver.build_the_model_mip_refine
    LiRPANet.build_the_model_mip_refine = lambda *args, **kwargs: check_refined(refine, *args, **kwargs)


def peak_mib() -> float:
    """The largest resident set of this process so far, in MiB; not that of the process which started it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def check_refined(refine: Any, m: Any, lower: Any, upper: Any, **kwargs: Any) -> Any:
    """Compares the intervals that mixed-integer programs refine with random inputs."""
    before = {name: bound.clone() for name, bound in lower.items()}
    result = refine(m, lower, upper, **kwargs)
    low, high = m.x.ptb.x_L, m.x.ptb.x_U
    share = torch.rand(SAMPLES, *low.shape[1:], generator=torch.Generator().manual_seed(0)).to(low)
    bounds = {node: (lower[node.name].clone(), upper[node.name].clone()) for r in m.net.relus for node in r.inputs}
    noted["refined"] += sum(int((lower[node.name] != before[node.name]).sum()) for node in bounds)
    with torch.no_grad():
        for part in share.split(500):
            m.net(low + part * (high - low))
            for node, (lo, hi) in bounds.items():
                worst = torch.maximum(lo - node.forward_value, node.forward_value - hi).max()
                noted["violation"] = max(noted["violation"], float(worst))
    return result


def verify(config: str, notes: str) -> None:
    """Verifies the instances of one configuration."""

    class Logger(OriginalLogger):
        def summarize_results(self, verified_status: str, index: int) -> None:
            super().summarize_results(verified_status, index)
            status, seconds = self.status_per_sample_list[-1]
            with open(notes, "a", encoding="utf-8") as file:
                line = {"index": index, "status": status, "seconds": seconds, "peak_mib": peak_mib(), **noted}
                file.write(json.dumps(line) + "\n")
            noted.update(fresh())

    noted.update(fresh())
    abcrown.Logger = Logger
    abcrown.ABCROWN(args=["--config", config]).main()


def main(words: list[str]) -> None:
    """Verifies all configurations, one after the other."""
    install()
    for config, notes in zip(words[::2], words[1::2], strict=True):
        torch.set_default_dtype(torch.float32)  # `general.double_fp` changes it for good
        torch.use_deterministic_algorithms(False)
        verify(config, notes)


if __name__ == "__main__":
    main(sys.argv[1:])
