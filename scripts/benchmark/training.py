"""Throughput of this package's FAT + GradAlign against a plain torch loop of the same mathematics.

    python scripts/benchmark/training.py --networks cnn_b convbig_mnist --steps 20 --threads 2

Both loops learn from the same random images, batches, augmentation and noise, in turn: a few steps of one, then of the
other, so that whatever else the machine does hits both. Each has a process of its own, because this package's commands
keep freed memory (`training/allocator.py`), which is for a whole process. Their losses are compared step by step. CPU
time is that of the process over all its threads, and steadier than wall time on a busy machine.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from abcrown_graft.models.build import build_model
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.normalize import Normalize
from abcrown_graft.nn.surgery import graft
from abcrown_graft.training.allocator import keep_freed_memory
from abcrown_graft.training.augment import crop_flip
from abcrown_graft.training.fat import fat_loss
from abcrown_graft.training.methods.fat import Fat
from abcrown_graft.training.settings import AdversarialSettings, TrainSettings

BATCH, STEP, WEIGHT, RATE = 128, 1.25, 0.2, 0.01
EPSILON = {"cnn_b": 2 / 255, "convbig_mnist": 0.1}
COMPARED = 20  # first steps whose losses have to agree
PLAIN = "plain loop, float32"
TOGETHER = 2  # steps of one loop before it is the other's turn


Step = tuple[float, float, float]
"""A step's loss, and its seconds on the wall and of the processor."""


@dataclass(frozen=True)
class Loop:
    """What is timed: a loop's kind and settings, from which each process makes it anew."""

    network: str
    plain: bool = False
    grafted: bool = False
    precision: str = "float32"
    channels_last: bool = False

    def start(self) -> Iterator[float]:
        """Its losses, step by step."""
        model, images, labels, epsilon = _problem(self.network)
        if self.plain:
            return plain_loop(model, images, labels, epsilon, True)
        model = _grafted(model, images.shape[1:]) if self.grafted else model
        return our_loop(model, images, labels, _settings(epsilon, self.precision, self.channels_last), True)


@dataclass
class Timed:
    """A loop's steps so far."""

    losses: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """One more step."""
        for figures, figure in zip((self.losses, self.wall, self.cpu), step, strict=True):
            figures.append(figure)

    def figures(self) -> tuple[float, float]:
        """Median milliseconds of a step on the wall and of the processor; the first step is not counted."""
        return statistics.median(self.wall[1:]) * 1e3, statistics.median(self.cpu[1:]) * 1e3


def clocked(losses: Iterator[float]) -> Iterator[Step]:
    """The steps of a loop in this process."""
    while True:
        wall, cpu = time.perf_counter(), time.process_time()
        loss = next(losses)
        yield loss, time.perf_counter() - wall, time.process_time() - cpu


def elsewhere(loop: Loop, threads: int) -> Generator[Step, None, None]:
    """The steps of a loop in a process of its own, which ends with this generator."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(loop, threads, there), daemon=True)
    process.start()
    try:
        while True:
            here.send(None)
            yield here.recv()
    finally:
        process.terminate()
        process.join()


def _serve(loop: Loop, threads: int, connection: Connection) -> None:
    torch.set_num_threads(threads)
    if not loop.plain:
        keep_freed_memory()
    steps = clocked(loop.start())
    while True:
        connection.recv()
        connection.send(next(steps))


class Augmented(Dataset):
    """Images cropped and mirrored one by one, as a data set's transform does it."""

    def __init__(self, images: Tensor, labels: Tensor, seed: int) -> None:
        self.images, self.labels = images, labels
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = F.pad(self.images[index], (4, 4, 4, 4))
        top, left = torch.randint(0, 9, (2,), generator=self.generator).tolist()
        image = image[:, top : top + self.images.shape[2], left : left + self.images.shape[3]]
        if torch.randint(0, 2, (), generator=self.generator):
            image = image.flip(2)
        return image, self.labels[index]


def plain_step(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, noise: torch.Generator) -> Tensor:
    """The loss as one writes it from the papers: backward on a leaf perturbation, GradAlign by a double backward."""

    def uniform() -> Tensor:
        return (torch.rand(images.shape, generator=noise) * 2 - 1) * epsilon

    model.eval()
    delta = uniform()
    delta = (torch.clamp(images + delta, 0, 1) - images).requires_grad_()
    F.cross_entropy(model(images + delta), labels).backward()
    assert delta.grad is not None
    delta = torch.clamp(delta.detach() + STEP * epsilon * torch.sign(delta.grad), -epsilon, epsilon)
    delta = torch.clamp(images + delta, 0, 1) - images
    model.zero_grad()
    model.train()
    loss = F.cross_entropy(model(images + delta), labels)
    model.eval()
    first = _input_gradient(model, images, labels, torch.zeros_like(images), False).flatten(1)
    second = _input_gradient(model, images, labels, uniform(), True).flatten(1)
    kept = (first.norm(dim=1) > 0) & (second.norm(dim=1) > 0)
    cosine = F.cosine_similarity(first[kept], second[kept], dim=1)
    return loss + WEIGHT * (1 - cosine.mean())


def _input_gradient(model: nn.Module, images: Tensor, labels: Tensor, delta: Tensor, again: bool) -> Tensor:
    delta = delta.requires_grad_()
    loss = F.cross_entropy(model(images + delta), labels)
    return torch.autograd.grad(loss, delta, create_graph=again)[0]


def plain_loop(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, augment: bool) -> Iterator[float]:
    """Losses of the plain loop, step by step."""
    optimizer, noise = _optimizer(model), torch.Generator().manual_seed(1)
    data = Augmented(images, labels, seed=0) if augment else torch.utils.data.TensorDataset(images, labels)
    while True:
        for x, y in DataLoader(data, batch_size=BATCH):
            loss = plain_step(model, x, y, epsilon, noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def our_loop(
    model: nn.Module, images: Tensor, labels: Tensor, settings: AdversarialSettings, augment: bool
) -> Iterator[float]:
    """Losses of this package's loop, step by step."""
    optimizer, noise = _optimizer(model), torch.Generator().manual_seed(1)
    draws = torch.Generator().manual_seed(0)
    mixed = settings.precision == "bfloat16"
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    nn.utils.convert_conv2d_weight_memory_format(model, layout).train()
    while True:
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            x = (crop_flip(x, draws) if augment else x).contiguous(memory_format=layout)
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                loss = fat_loss(model, x, y, settings.epsilon, settings.attack_step, WEIGHT, noise).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield loss.item()


def _optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)


def _model(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    core, shape = build_model(name)
    if shape is None:
        raise SystemExit(f"{name}: no registered definition with an input shape")
    return nn.Sequential(Normalize(0.5, 0.25), core), shape


def _problem(name: str) -> tuple[nn.Module, Tensor, Tensor, float]:
    """A network with random weights, four batches of random images with labels, and the radius; always the same."""
    model, shape = _model(name)
    images, labels = torch.rand(4 * BATCH, *shape), torch.randint(0, 10, (4 * BATCH,))
    return model, images, labels, EPSILON.get(name, 2 / 255)


def _grafted(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The same network with half of its neurons grafted, at random."""
    generator = torch.Generator().manual_seed(0)
    sites = from_module(model, shape).sites
    return graft(model, {site: torch.rand(size, generator=generator) < 0.5 for site, size in sites.items()})


def _settings(epsilon: float, precision: str, channels_last: bool) -> TrainSettings:
    return TrainSettings(
        epochs=1, batch_size=BATCH, lr=RATE, momentum=0.9, weight_decay=5e-4, epsilon=epsilon, attack_step=STEP,
        method=Fat(gradalign=WEIGHT), validation=1, precision=precision, channels_last=channels_last,
    )  # fmt: skip


def measure(loops: Mapping[str, Iterator[Step]], steps: int) -> dict[str, Timed]:
    """Runs the loops in turn until each has made that many steps after its first one."""
    timed = {name: Timed() for name in loops}
    for start in range(0, steps + 1, TOGETHER):
        for name, loop in loops.items():
            for _ in range(min(TOGETHER, steps + 1 - start)):
                timed[name].add(next(loop))
    return timed


def difference(first: list[float], second: list[float]) -> float:
    """The largest relative difference of the losses of the compared steps."""
    pairs = list(zip(first, second, strict=True))[:COMPARED]
    return max(abs(a - b) / abs(a) for a, b in pairs)


def benchmark(name: str, steps: int, threads: int, say: Callable[[str], None]) -> bool:
    """Prints the figures of a network; whether the losses of both loops in float32 agree."""
    apart = compare_losses(name)
    loops = {PLAIN: Loop(name, plain=True)}
    for precision in ("float32", "bfloat16"):
        loops[f"ours, {precision}"] = Loop(name, precision=precision)
        loops[f"ours, {precision}, channels last"] = Loop(name, precision=precision, channels_last=True)
        loops[f"grafted, {precision}"] = Loop(name, grafted=True, precision=precision)
    with ExitStack() as stack:
        running = {key: stack.enter_context(closing(elsewhere(loop, threads))) for key, loop in loops.items()}
        timed = measure(running, steps)
    say(f"{name}: largest relative difference of {COMPARED} losses {apart:.1e}")
    for loop in timed:
        say(line(loop, timed))
    return apart <= 1e-4


def compare_losses(name: str) -> float:
    """How far the first losses of both loops are apart; images are not augmented, as each loop draws differently."""
    model, images, labels, epsilon = _problem(name)
    plain = plain_loop(copy.deepcopy(model), images, labels, epsilon, False)
    ours = our_loop(model, images, labels, _settings(epsilon, "float32", False), False)
    check = measure({"plain": clocked(plain), "ours": clocked(ours)}, COMPARED - 1)
    return difference(check["plain"].losses, check["ours"].losses)


def line(loop: str, timed: dict[str, Timed]) -> str:
    """A loop's figures, and how they compare: a grafted network's with the same one's without grafts."""
    against = loop.replace("grafted", "ours") if loop.startswith("grafted") else PLAIN
    (wall, cpu), (other_wall, other_cpu) = timed[loop].figures(), timed[against].figures()
    figures = f"  {loop:<30} {wall:7.1f} ms per step, {cpu:7.1f} ms of CPU"
    if against == PLAIN:
        return f"{figures}; {other_wall / wall:.2f} ({other_cpu / cpu:.2f} by CPU) times as fast as the plain loop"
    return f"{figures}; {wall / other_wall:.2f} ({cpu / other_cpu:.2f} by CPU) times the time of {against!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["cnn_b", "convbig_mnist"], help="names of model definitions")
    parser.add_argument("--steps", type=int, default=20, help="steps of each loop that are timed")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    arguments = parser.parse_args()
    if arguments.steps < 1 or arguments.threads < 1:
        parser.error("--steps and --threads must be at least 1")
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, batches of {BATCH}")
    agree = [benchmark(name, arguments.steps, arguments.threads, print) for name in arguments.networks]
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
