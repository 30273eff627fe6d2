"""Verifying the configured images: results file, counterexamples, instability dump."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from abcrown_graft import __version__
from abcrown_graft.assembly import effort, inputs
from abcrown_graft.assembly.onnx_model import classifier, require_images
from abcrown_graft.assembly.options import DataOptions, GeneralOptions, ModelOptions
from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.data import ImageData
from abcrown_graft.errors import ConfigError
from abcrown_graft.files import check_writable
from abcrown_graft.formats.counterexample import save_counterexample
from abcrown_graft.formats.results import ResultsFile
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.masks.options import InstabilityOptions
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.verdict import InstanceResult
from abcrown_graft.verify.options import SpecificationOptions
from abcrown_graft.verify.problem import Subject, VerifySettings
from abcrown_graft.verify.recorder import NATIVE_METHODS, InstabilityRecorder
from abcrown_graft.verify.run import verify_images

LEFT_OPEN_BY = ("attack.", "solver.bound_prop_method", "solver.alpha-crown.")  # what comes before branch and bound


@dataclass(frozen=True, eq=False)
class Verification:
    """A verification run that is ready to go.

    Attributes:
        noun, single: what it verifies, for messages, and whether it is just one.
        indices: of the images, in order.
        results: the results file.
        recorder: the instability dump, or None.
    """

    noun: ClassVar[str] = "image"
    single: ClassVar[bool] = False

    config: Config
    model: LoadedModel
    data: ImageData
    settings: VerifySettings
    specify: Robustness
    device: str
    indices: list[int]
    results: ResultsFile
    recorder: InstabilityRecorder | None

    @property
    def todo(self) -> list[int]:
        """The images that an earlier part of the run has not done."""
        return [index for index in self.indices if index not in self.results.done]

    @property
    def engine(self) -> str:
        """What decides, in words."""
        return native_engine(self.device, self.settings.double)

    def run(self) -> Iterator[InstanceResult]:
        """Yields the result of each image that is left to do; each is in the results file by then."""
        with self.results.in_use():
            with closing(self._results(self.todo)) as found:
                for result in found:
                    self.results.append(result)
                    yield result
            if self.recorder is not None and not self.recorder.dump.n:
                self.recorder.dump.save(self.recorder.path)  # that no image counts is a finding too
            self.results.complete()

    def _results(self, chosen: list[int]) -> Iterator[InstanceResult]:
        """Decides these images, in order."""
        yield from verify_images(
            self._subject(),
            self.data.images[chosen],
            self.data.labels[chosen],
            chosen,
            self.settings,
            self.recorder,
            self._save_counterexample if self.config.settings(GeneralOptions).save_adv_example else None,
            self.specify,
        )

    def _subject(self) -> Subject:
        return Subject.prepare(self.model.module, self.model.exact, self.device, self.settings.double)

    def _save_counterexample(self, index: int, point: Tensor) -> None:
        with torch.no_grad():
            output = self.model.module(point.unsqueeze(0))[0].to(point.dtype)
        save_counterexample(counterexample_path(self.config), index, point, output)


def native_engine(device: str, double: bool) -> str:
    """This package's own engine, in words."""
    precision = "float64" if double else "float32"
    return f"native (abcrown-graft {__version__}, {device}, {precision}, decided in float64)"


def counterexample_path(config: Config) -> Path:
    """`attack.cex_path`.

    Raises:
        ConfigError: it names a folder.
    """
    path = config.path("attack.cex_path", must_exist=False) or Path("test_cex.txt")
    if not path.name:
        raise ConfigError(f"{config.origin('attack.cex_path')}: attack.cex_path: {path} names no file")
    return path


def checked_counterexample_path(config: Config) -> Path:
    """`counterexample_path`, before the run.

    Raises:
        ConfigError: it names a folder.
        OutputError: counterexamples are to be saved, and nothing can be written there.
    """
    path = counterexample_path(config)
    if config.settings(GeneralOptions).save_adv_example:
        check_writable(path)
    return path


def _seen_from(results: Path, path: Path) -> str:
    """A path counted from the folder of the results."""
    return Path(os.path.relpath(path.resolve(), results.resolve().parent)).as_posix()


def prepare_verification(config: Config) -> Verification:
    """Loads and checks everything a run needs; nothing is written but the head of the results file."""
    require_images(config)
    device = inputs.device(config)
    settings = effort.verify_settings(config)
    model = None if config.settings(ModelOptions).onnx_path else inputs.configured_model(config)
    data = inputs.images(config)
    model = model or classifier(config, data)
    inputs.check_fit(data, model, config)
    indices = inputs.instance_indices(config, len(data))
    specify = effort.specification(config, data)
    recorder = instability_recorder(config, model, data)
    points = checked_counterexample_path(config)
    torch.manual_seed(settings.seed)
    header = run_header(config, model, data, indices, engine="native", settings=asdict(settings))
    path = results_path(config, recorder)
    saved = _seen_from(path, points) if config.settings(GeneralOptions).save_adv_example else None
    results = ResultsFile(path, header, {"counterexamples": saved})
    return Verification(config, model, data, settings, specify, device, indices, results, recorder)


def results_path(config: Config, recorder: InstabilityRecorder | None) -> Path:
    """`general.results_file`.

    Raises:
        ConfigError: it is the dump of `recorder`.
    """
    path = config.path("general.results_file", must_exist=False) or Path("out.txt")
    if recorder is not None and recorder.path.resolve() == path.resolve():
        raise ConfigError(f"general.results_file and instability.dump are one file, {path}; name two")
    return path


def instability_recorder(
    config: Config, model: LoadedModel, data: ImageData, methods: Sequence[str] = NATIVE_METHODS
) -> InstabilityRecorder | None:
    """The recorder of `instability.dump`, or None if that is not set; `methods` are those that the engine has."""
    path = config.path("instability.dump", must_exist=False)
    if path is None:
        return None
    pixels, counting = config.settings(DataOptions), config.settings(InstabilityOptions)
    about = {
        "dataset": data.name,
        "split": data.split,
        "data": data.fingerprint,
        "epsilon": _counted_radius(config),
        "mean": pixels.mean,
        "std": pixels.std,
        "double_fp": config.settings(GeneralOptions).double_fp,
    }
    method, population = counting.method, counting.population
    alpha = effort.alpha_settings(config)
    if population == "bab":
        about |= {key: config[key] for key in SCHEMA if key.startswith(LEFT_OPEN_BY) and key != "attack.cex_path"}
    if method == "alpha-crown":
        about["method_settings"] = {name: getattr(alpha, name) for name in ("iterations", "lr_alpha", "lr_decay")}
    return InstabilityRecorder(path, model.identity, model.grafted, about, method, population, methods, alpha)


def _counted_radius(config: Config) -> float | None:
    """Of the boxes: those of clean accuracy are the images themselves."""
    return 0.0 if config.settings(SpecificationOptions).robustness_type == "clean-acc" else effort.radius(config)


def run_header(
    config: Config, model: LoadedModel, data: ImageData, indices: Sequence[int], **own: Any
) -> dict[str, Any]:
    """What makes two runs the same run.

    Args:
        own: what else does, for one engine: its name and settings at least.
    """
    model_options, pixels = config.settings(ModelOptions), config.settings(DataOptions)
    return {
        **own,
        "model": model_options.name or Path(model_options.onnx_path or "").name,
        "architecture": model.identity.architecture,
        "weights": model.identity.weights,
        "dataset": data.name,
        "split": data.split,
        "data": data.fingerprint,
        "mean": pixels.mean,
        "std": pixels.std,
        "indices": list(indices),
    }
