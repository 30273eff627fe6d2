"""One β-CROWN iteration on the largest core of a network: how far it is from the products it cannot do without.

    python scripts/benchmark/iteration.py --config exp_configs/cnna_cifar.yaml [--images 20] [--subproblems 512]

The floor is the multiply-adds that are needed (the core's non-zeros, times the subproblems, times two: once backward
for the bound, once forward for its gradient), at the speed that the very same products have when nothing else is done.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from abcrown_graft.assembly import effort, inputs
from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.config.load import load_config
from abcrown_graft.core.core import Core
from abcrown_graft.core.dual import Duals, dual_bound, mix_of, primal_values, root_duals
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.search.optimize import AdamSettings, optimize


@dataclass(frozen=True, eq=False)
class Work:
    """A core in search precision, and subproblems of it whose first splits are at random."""

    core: Core
    duals: Duals

    @property
    def multiply_adds(self) -> float:
        """Needed for one iteration."""
        return 2.0 * (self.core.nonzeros + self.core.out_input.nonzeros) * len(self.duals)


def largest_core(config_path: str, flags: dict[str, object], images: int) -> tuple[Core, int]:
    """The core with most non-zeros among the first images, and its image."""
    config = load_config(config_path, flags)
    model, data = inputs.configured_model(config), inputs.images(config)
    device = inputs.device(config)
    network, specify = model.exact.to(device, torch.float64), effort.specification(config, data)
    best: tuple[Core, int] | None = None
    for index in range(images):
        image, label = data.images[index : index + 1].to(device), data.labels[index : index + 1].to(device)
        found = specify(image, label, [index], math.prod(network.output.shape))
        if specify.nearest:
            with torch.no_grad():
                found = found.nearest(model.module.to(device)(image))
        bounds = bound_network(network, found.box, rigorous=True)
        core = reduce_to_core(bounds, found.rows[0].flatten(0, 1), found.offsets.flatten())
        if best is None or core.nonzeros > best[0].nonzeros:
            best = core, index
    assert best is not None
    return best


def prepared(core: Core, subproblems: int) -> Work:
    """Subproblems with a tenth of the neurons split."""
    fast = core.to(dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    specs = torch.arange(subproblems, device=core.lower.device) % len(core.clause)
    duals = root_duals(fast, mix_of(fast, specs))
    chance = torch.rand(duals.split.shape, generator=generator).to(duals.split)
    split = (chance < 0.05).float() - (chance > 0.95).float()
    return Work(fast, Duals(duals.mix, split, duals.slack * (split == 0)))


def products(work: Work) -> Callable[[], None]:
    """The matrix products of one iteration and nothing else."""
    core, batch = work.core, len(work.duals)
    like = torch.randn(len(core.lower), batch, device=core.lower.device)
    columns = [torch.randn(size, batch, device=core.lower.device) for size in core.sizes]

    def run() -> None:
        for k, layer in enumerate(core.layers):
            layer.from_input.transpose_times(columns[k])
            layer.from_input @ like
            for j, block in layer.from_layers.items():
                block.transpose_times(columns[k])
                block @ columns[j]

    return run


def seconds(run: Callable[[], object], repeats: int) -> float:
    """The fastest of several runs."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--load_model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--subproblems", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    flags: dict[str, object] = {"general.device": options.device}
    if options.load_model:
        flags["model.path"] = options.load_model
    core, image = largest_core(options.config, flags, options.images)
    work = prepared(core, options.subproblems)
    steps = 5
    floor = seconds(products(work), options.repeats)
    one_pass = seconds(lambda: primal_values(work.core, dual_bound(work.core, work.duals)), options.repeats)
    effort_of = AdamSettings(steps, 0.01, 0.05)
    iteration = seconds(lambda: optimize(work.core, work.duals, effort_of, float("inf")), options.repeats) / (steps + 2)
    print(f"image {image}: unstable neurons {work.core.sizes}, {work.core.nonzeros:,} non-zeros")
    print(f"{len(work.duals)} subproblems, {work.multiply_adds / 1e6:,.0f} million multiply-adds")
    print("| part | ms | ratio to the floor | GFLOP/s |")
    print("|---|---|---|---|")
    rows = (("products alone (floor)", floor), ("bound and its gradient", one_pass), ("whole iteration", iteration))
    for name, spent in rows:
        rate = 2 * work.multiply_adds / spent / 1e9
        print(f"| {name} | {spent * 1e3:.2f} | {spent / floor:.2f} | {rate:.1f} |")


if __name__ == "__main__":
    main()
