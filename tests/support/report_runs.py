"""Folders of finished runs, written by hand from a network of two pixels, four neurons and two classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from abcrown_graft.config.load import load_config
from abcrown_graft.formats.counterexample import save_counterexample
from abcrown_graft.formats.results import ResultsFile
from abcrown_graft.masks.dump import add, empty
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.masks.scores import SiteScores
from abcrown_graft.models.checkpoint import save_checkpoint
from abcrown_graft.models.load import LoadedModel, prepare
from abcrown_graft.nn.surgery import graft
from abcrown_graft.verdict import InstanceResult, Verdict

SHAPE = (1, 1, 2)
MASK = {"2": torch.tensor([True, False, False, True])}
DEFINITION = """
from torch import nn

def two_pixels():
    return nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
"""
CONFIG = """
general: {device: cpu}
model: {name: 'Customized("two_pixels.py", "two_pixels")', input_shape: [-1, 1, 1, 2]}
data: {num_outputs: 2}
tune: {slope: 0.5, intercept: 0.25}
"""
STATUS = {Verdict.VERIFIED: "safe-incomplete", Verdict.FALSIFIED: "unsafe-pgd", Verdict.TIMEOUT: "timeout"}


def plain_core(bias: float = 0.0) -> nn.Sequential:
    """Outputs (x0 + bias, x1): class 0 where the first pixel is the brighter one by more than -bias."""
    core = nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        core[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]))
        core[1].bias.fill_(1.0)  # the neurons are active on all images, so that a graft with a = 1 changes nothing
        core[3].weight.copy_(torch.tensor([[0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.5]]))
        core[3].bias.copy_(torch.tensor([bias, 0.0]))
    return core.eval()


def loaded(core: nn.Module) -> LoadedModel:
    """The network, ready to be used."""
    return prepare(core, SHAPE)


def result(index: int, verdict: Verdict, predicted: int = 0, **more: float | None) -> InstanceResult:
    """Of an image of class 0."""
    return InstanceResult(
        index, 0, predicted, verdict, STATUS.get(verdict, str(verdict)), more.pop("seconds", 1.0), **more
    )


class RunWriter:
    """Writes the files of a run, all of them consistent, so that a test may then change one.

    Attributes:
        folder: `pipeline.output`.
        baseline: `pipeline.baseline`.
        plain, grafted: the networks.
    """

    def __init__(self, folder: Path, baseline: Path | None = None) -> None:
        self.folder, self.baseline = folder, baseline or folder
        for path in (self.folder, self.baseline):
            path.mkdir(parents=True, exist_ok=True)
        plain = plain_core()
        grafted = graft(plain_core(bias=0.1), MASK, slope=1.0, intercept=0.0)
        self.plain, self.grafted = loaded(plain), loaded(grafted)

    def network(self, name: str) -> tuple[Path, LoadedModel]:
        """Where the files of "baseline" or "grafted" go, and which network that is."""
        return (self.baseline, self.plain) if name == "baseline" else (self.folder, self.grafted)

    def verified(self, name: str, results: Sequence[InstanceResult]) -> None:
        """The results file, complete."""
        folder, model = self.network(name)
        about = {"model": "two", "dataset": "PIXELS", "data": "d", "weights": model.identity.weights}
        file = ResultsFile(folder / f"verify_{name}.jsonl", {**about, "settings": {"epsilon": 0.1}})
        for found in results:
            file.append(found)
        file.complete()

    def counted(self, name: str, unstable: Mapping[int, Sequence[int]]) -> None:
        """The instability dump of the verified images: the unstable neurons of each."""
        folder, model = self.network(name)
        flags = torch.zeros(len(unstable), 4, dtype=torch.bool)
        for row, neurons in enumerate(unstable.values()):
            flags[row, list(neurons)] = True
        dump = empty(model.identity, model.grafted, {"population": "correct"})
        add(dump, list(unstable), {"2": flags}).save(folder / f"verify_{name}_instability.safetensors")

    def evaluated(self, name: str, clean: float = 0.75, robust: float = 0.5) -> None:
        """The accuracies."""
        folder, model = self.network(name)
        found = {"standard_accuracy": clean, "robust_accuracy": robust, "images": 8, "weights": model.identity.weights}
        (folder / f"evaluation_{name}.json").write_text(json.dumps(found))

    def scored(self) -> None:
        """Instability on two training images, significance and mask of the plain network."""
        flags = torch.tensor([[1, 0, 0, 1], [1, 1, 0, 0]]).bool()
        add(empty(self.plain.identity, {}, {}), [0, 1], {"2": flags}).save(self.baseline / "instability.safetensors")
        scores = {"2": torch.tensor([0.1, 0.2, 0.4, 0.3])}
        path = self.baseline / "significance_gradient.safetensors"
        SiteScores("significance", scores, self.plain.identity, {"method": "gradient"}).save(path)
        GraftMask(MASK, self.plain.identity, {}).save(self.folder / "mask.safetensors")

    def saved_networks(self) -> None:
        """Both checkpoints, and how to load them."""
        (self.folder / "two_pixels.py").write_text(DEFINITION)
        (self.folder / "tune.config.yaml").write_text(CONFIG)
        load_config(self.folder / "tune.config.yaml")
        save_checkpoint(self.baseline / "train.safetensors", self.plain.core, {"stage": "train"})
        about = {"stage": "tune", "plain": self.plain.identity.to_header()}
        save_checkpoint(self.folder / "tune.safetensors", self.grafted.core, about)

    def counterexample(self, name: str, index: int, point: Tensor) -> Path:
        """A saved counterexample."""
        folder, model = self.network(name)
        point = point.view(SHAPE)
        output = model.module(point.unsqueeze(0))[0].detach()
        return save_counterexample(folder / f"counterexample_{name}.txt", index, point, output)

    def record(self, **entries: object) -> None:
        """`run.json`."""
        (self.folder / "run.json").write_text(json.dumps(entries))


def finished_run(folder: Path, baseline: Path | None = None) -> RunWriter:
    """A whole run: of four images the baseline verifies one and the grafted network two.

    Image 0 is verified by both, 1 becomes verified, 2 is attacked in both, 3 is misclassified by both. The baseline's
    counterexample of image 2 does not fool the grafted network; the grafted network's fools the baseline.
    """
    run = RunWriter(folder, baseline)
    wrong = result(3, Verdict.FALSIFIED, predicted=1)
    attacked = result(2, Verdict.FALSIFIED)
    before = [result(0, Verdict.VERIFIED, lower_bound=0.2), result(1, Verdict.TIMEOUT, lower_bound=-1.0, seconds=5.0)]
    after = [result(0, Verdict.VERIFIED, lower_bound=0.4), result(1, Verdict.VERIFIED, lower_bound=0.0)]
    run.verified("baseline", [*before, attacked, wrong])
    run.verified("grafted", [*after, attacked, wrong])
    run.counted("baseline", {0: [0, 1], 1: [0, 2, 3], 2: [0]})
    run.counted("grafted", {0: [1], 1: [], 2: [1, 2]})
    for name in ("baseline", "grafted"):
        run.evaluated(name)
    run.scored()
    run.saved_networks()
    run.counterexample("baseline", 2, torch.tensor([0.50, 0.55]))
    run.counterexample("grafted", 2, torch.tensor([0.40, 0.60]))
    return run
