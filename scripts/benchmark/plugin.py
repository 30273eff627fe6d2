"""Measures the plugin inside α,β-CROWN; docs/plugin.md tells what the tables mean.

    python scripts/benchmark/plugin.py --out results/plugin --cases mnist cifar resnet toy

The networks are grafted at random, 50 % of each layer, with the lines that fit ReLU best on 200 training images and
slopes clipped to [0.2, 0.8], without tuning. Interrupted, it goes on where it stopped: it keeps what is in --out.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from commands import HERE, add_common_flags, check_options, our_command, their_environment
from plugin_routes import ROUTES, source, toy
from processes import Usage, check, environment, run
from safetensors.torch import save_file
from torch import Tensor

from abcrown_graft.data import load_dataset
from abcrown_graft.models.definitions import model_definition
from abcrown_graft.models.load import load_model, load_weights
from abcrown_graft.network.forward import pre_activations
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.normalize import Normalize
from abcrown_graft.nn.surgery import graft

CIFAR_MEAN, CIFAR_STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
FIT_IMAGES, TIMEOUT = 200, 60
SUMMED = ("domains", "splits", "grafted_splits", "refined")


@dataclass(frozen=True)
class Case:
    """A network, a radius, and what is measured of them.

    Attributes:
        model: a registered definition, or `toy`.
        weights: its file in the folder of models.
        pool: how many of the first correctly classified test images are looked at (`every`: right or wrong).
        open: how many of those that α-CROWN leaves open and branch and bound verifies are measured; None for all.
        settings: sections of α,β-CROWN's configuration.
        runs: label and further settings of each run.
        routes: ways to give α,β-CROWN the network.
    """

    model: str
    weights: str
    dataset: str
    epsilon: float
    mean: list[float]
    std: list[float]
    pool: int
    open: int | None
    every: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=lambda: {"bab": {}})
    routes: tuple[str, ...] = ROUTES


_BAB = {"solver": {"beta-crown": {"iteration": 20}}}
_INCOMPLETE = {"general": {"complete_verifier": "skip"}, "solver": {"alpha-crown": {"iteration": 10}}}
_TOY_RUNS = {
    "mip": {"general": {"complete_verifier": "mip"}},
    "bab-refine": {"general": {"complete_verifier": "bab-refine"}},
}
CASES = {
    "mnist": Case("cnn_a_mnist", "mnist_cnn_a_adv.npz", "MNIST", 0.105, [0.0], [1.0], 60, 9, settings=_BAB),
    "cifar": Case("cnn_a", "cifar_cnn_a_adv.npz", "CIFAR", 2 / 255, CIFAR_MEAN, CIFAR_STD, 100, 4, settings=_BAB),
    "resnet": Case(
        "resnet_2b", "resnet2b.npz", "CIFAR", 2 / 255, CIFAR_MEAN, [0.2471, 0.2435, 0.2616], 4, None,
        settings=_INCOMPLETE, runs={"2/255": {}, "0.004": {"specification": {"epsilon": 0.004}}},
    ),
    "toy": Case(
        "toy", "mnist_2_20.pth", "MNIST", 0.05, [0.0], [1.0], 40, None, every=True, runs=_TOY_RUNS,
        settings={"solver": {"mip": {"parallel_solvers": 1}}}, routes=("plugin",),
    ),
}  # fmt: skip


def prepare(case: Case, options: argparse.Namespace, folder: Path) -> None:
    """Writes the grafted checkpoint and the images of a case."""
    core, shape = _core(case, options)
    torch.manual_seed(0)
    normalize = Normalize(case.mean, case.std, shape[0])
    fit = load_dataset(case.dataset, "train", options.data_dir).images[:FIT_IMAGES]
    _, inputs = pre_activations(from_module(core, shape), normalize(fit))
    masks = {site: torch.rand(z.shape[1:]) < 0.5 for site, z in inputs.items()}
    lines = {site: _line(z) for site, z in inputs.items()}
    grafted = graft(core, masks, *({site: line[k] for site, line in lines.items()} for k in (0, 1)))
    save_file(grafted.state_dict(), folder / "grafted.safetensors")
    test = load_dataset(case.dataset, "test", options.data_dir)
    with torch.no_grad():
        right = grafted.eval()(normalize(test.images[:1000])).argmax(1) == test.labels[:1000]
    chosen = torch.arange(case.pool) if case.every else right.nonzero().flatten()[: case.pool]
    images, labels = test.images[chosen], test.labels[chosen]
    _save(folder / "pool.npz", case, images, labels, chosen)


def _core(case: Case, options: argparse.Namespace) -> tuple[torch.nn.Module, tuple[int, ...]]:
    if case.model == "toy":
        core, shape = toy(), (1, 28, 28)
        file = options.abcrown_home / "complete_verifier/models/toy" / case.weights
        core.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
        return core.eval(), shape
    definition = model_definition(case.model)
    core = load_weights(definition.build(), definition.input_shape, options.models / case.weights)
    return core.eval(), definition.input_shape


def _line(z: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and intercept of the best fit to ReLU over the images `(images, *neurons)`, the slope clipped."""
    centred, relu = z - z.mean(0), z.relu()
    slope = ((centred * relu).sum(0) / centred.square().sum(0).clamp(min=1e-12)).clamp(0.2, 0.8).detach()
    return slope, (relu.mean(0) - slope * z.mean(0)).detach()


def _save(path: Path, case: Case, images: Tensor, labels: Tensor, indices: Tensor) -> None:
    shape = (-1, *(1,) * (images.dim() - 2))
    mean, std = (np.array(values, dtype=np.float32).reshape(shape) for values in (case.mean, case.std))
    np.savez(path, images=images.numpy(), labels=labels.numpy(), indices=indices.numpy(), mean=mean, std=std)


def configuration(case: Case, folder: Path, images: Path, route: str, changes: dict[str, Any]) -> dict[str, Any]:
    """For α,β-CROWN."""
    checkpoint = folder / "grafted.safetensors"
    words = f'"{case.model}", "{checkpoint}", "{route}"'
    count = len(np.load(images, allow_pickle=False)["labels"])
    config: dict[str, dict[str, Any]] = {
        "general": {"device": "cpu", "results_file": str(folder / "results")},
        "model": {"name": f'Customized("plugin_routes", "network", {words})'},
        "data": {"dataset": f'Customized("plugin_routes", "instances", path="{images}")', "end": count},
        "specification": {"epsilon": case.epsilon},
        "attack": {"pgd_order": "skip"},
        "solver": {"batch_size": 256},
        "bab": {"override_timeout": TIMEOUT},
    }
    if route == "plugin":
        config["general"]["graph_optimizer"] = 'Customized("abcrown_graft.plugin.hooks", "graph_optimizer")'
    for sections in (case.settings, changes):
        for section, keys in sections.items():
            config[section].update(keys)
    return config


def run_theirs(
    case: Case, options: argparse.Namespace, folder: Path, images: Path, route: str, label: str, changes: dict[str, Any]
) -> tuple[list[dict[str, Any]], Usage]:
    """α,β-CROWN on images; what an earlier run noted if it had finished."""
    stem = folder / f"{images.stem}_{route}_{label.replace('/', '_')}"
    notes, usage = stem.with_suffix(".jsonl"), stem.with_suffix(".usage")
    if not usage.exists():
        notes.unlink(missing_ok=True)
        config = configuration(case, folder, images, route, changes)
        stem.with_suffix(".yaml").write_text(json.dumps(config, indent=1), encoding="utf-8")
        command = [options.abcrown_python, str(HERE / "plugin_driver.py"), str(stem.with_suffix(".yaml")), str(notes)]
        log = stem.with_suffix(".log")
        took = check(run(command, log, their_environment(options), folder), log)
        usage.write_text(json.dumps([took.code, took.wall, took.cpu, took.peak_mib]), encoding="utf-8")
    lines = notes.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines], Usage(*json.loads(usage.read_text(encoding="utf-8")))


def choose(case: Case, options: argparse.Namespace, folder: Path) -> Path:
    """The images that are measured: all, or those of the pool that only branch and bound verifies."""
    pool, chosen = folder / "pool.npz", folder / "chosen.npz"
    if case.open is None:
        return pool
    if not chosen.exists():
        notes, _ = run_theirs(case, options, folder, pool, "plugin", "search", {"attack": {"pgd_order": "before"}})
        positions = [k for k, note in enumerate(notes) if note["domains"] and note["status"] == "safe"][: case.open]
        with np.load(pool, allow_pickle=False) as arrays:
            parts = (torch.from_numpy(arrays[key][positions]) for key in ("images", "labels", "indices"))
            _save(chosen, case, *parts)
    return chosen


def run_native(case: Case, options: argparse.Namespace, folder: Path, images: Path) -> list[str]:
    """The native engine's verdicts on the same images."""
    indices = np.load(images, allow_pickle=False)["indices"].tolist()
    results, log = folder / f"{images.stem}_native.jsonl", folder / f"{images.stem}_native.log"
    checkpoint = str(folder / "grafted.safetensors")
    made = source(case.model, checkpoint)
    config = {
        "general": {"device": "cpu", "results_file": str(results)},
        "model": {"name": made.name, "input_shape": [-1, *load_model(made).input_shape]},
        "graft": {"checkpoint": checkpoint},
        "data": {"dataset": case.dataset, "data_dir": str(options.data_dir), "mean": case.mean, "std": case.std},
        "specification": {"epsilon": case.epsilon},
        "bab": {"timeout": TIMEOUT},
    }
    file = folder / f"{images.stem}_native.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")
    results.unlink(missing_ok=True)
    words = ["--config", str(file), "--engine", "native", "--select_instance", *map(str, indices)]
    run(our_command("abcrown", words), log, environment(options.threads), folder)
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    verdicts = {line["index"]: line["verdict"] for line in lines if "verdict" in line}
    return [verdicts[index] for index in indices]


def _kind(status: str) -> str:
    return "falsified" if status.startswith("unsafe") else "verified" if status.startswith("safe") else "open"


def report(case_name: str, options: argparse.Namespace) -> None:
    """Runs what is missing of a case and prints its table."""
    case, folder = CASES[case_name], options.out.resolve() / case_name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "pool.npz").exists():
        prepare(case, options, folder)
    images = choose(case, options, folder)
    native = [verdict if verdict != "unknown" else "open" for verdict in run_native(case, options, folder, images)]
    print(f"\n{case_name}: {len(native)} images, native: {_counts(native)}")
    print("| run | route | verdicts | contradict native | domains | splits (grafted) | refined (violated by) | "
          "CPU s | of it incomplete | peak MiB | margins differ |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for label, changes in case.runs.items():
        reference: list[float] = []
        for route in case.routes:
            notes, usage = run_theirs(case, options, folder, images, route, label, changes)
            verdicts = [_kind(note["status"]) for note in notes]
            wrong = sum({a, b} == {"verified", "falsified"} for a, b in zip(verdicts, native, strict=True))
            margins = [margin for note in notes for margin in note["margins"] or ()]
            reference = reference or margins
            apart = _distance(margins, reference)
            total = {key: sum(note[key] for note in notes) for key in SUMMED}
            print(
                f"| {label} | {route} | {_counts(verdicts)} | {wrong if not changes.get('specification') else '-'} "
                f"| {total['domains']} | {total['splits']} ({total['grafted_splits']}) "
                f"| {total['refined']} ({max(note['violation'] for note in notes):.1e}) | {usage.cpu:.1f} "
                f"| {sum(note['build_cpu'] for note in notes):.1f} | {notes[-1]['peak_mib']:.0f} | {apart:.1e} |",
                flush=True,
            )


def _distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Of the margins' bounds; those that CROWN alone has verified are infinite after α-CROWN."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if math.isfinite(a) and math.isfinite(b)]
    return max((abs(a - b) for a, b in pairs), default=0.0)


def _counts(verdicts: Sequence[str]) -> str:
    return ", ".join(f"{verdicts.count(kind)} {kind}" for kind in dict.fromkeys(verdicts))


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="DIR", help="receives networks, images, logs and results")
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    add_common_flags(parser)
    options = parser.parse_args()
    check_options(parser, options, ("out", "data_dir", "abcrown_home", "auto_lirpa_home"))
    for name in options.cases:
        report(name, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
