"""This package's own verifier as the engine of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import torch

from abcrown_graft import __version__
from abcrown_graft.assembly import effort, inputs
from abcrown_graft.assembly.image_instances import ImageInstances, configured_images
from abcrown_graft.assembly.instances import asks_for_properties
from abcrown_graft.assembly.onnx_model import require_images
from abcrown_graft.assembly.outputs import image_outputs, property_outputs
from abcrown_graft.assembly.property_instances import PropertyInstances, configured_properties
from abcrown_graft.config.config import Config
from abcrown_graft.verdict import InstanceResult
from abcrown_graft.verify.batches import OnCounterexample
from abcrown_graft.verify.cases import verify_cases
from abcrown_graft.verify.options import SpecificationOptions
from abcrown_graft.verify.problem import VerifySettings
from abcrown_graft.verify.recorder import NATIVE_METHODS, InstabilityRecorder
from abcrown_graft.verify.runner import Group, Run


@dataclass(frozen=True, eq=False)
class NativeEngine:
    """The cascade, then branch and bound; see `Engine`.

    Attributes:
        recorder: counts the instability of what it is given, or None.
    """

    settings: VerifySettings
    device: str
    recorder: InstabilityRecorder | None = None

    @property
    def name(self) -> str:
        """What decides, in words."""
        precision = "float64" if self.settings.double else "float32"
        return f"native (abcrown-graft {__version__}, {self.device}, {precision}, decided in float64)"

    @property
    def group_size(self) -> int:
        """A batch."""
        return self.settings.batch_size

    def decide(self, group: Group, on_counterexample: OnCounterexample | None) -> Iterator[InstanceResult]:
        """See `Engine`."""
        timeout = self.settings.timeout if group.timeout is None else group.timeout
        settings = replace(self.settings, timeout=timeout)
        return verify_cases(group.subject, group.cases, settings, self.recorder, on_counterexample)


def prepare_native(config: Config) -> Run:
    """Loads and checks everything a run needs; nothing is written but the head of the results file.

    Raises:
        AbcrownGraftError: something of it cannot be used.
    """
    of_properties = asks_for_properties(config)
    if not of_properties:
        require_images(config)
    device = inputs.device(config)
    wanted = config.settings(SpecificationOptions)
    settings = effort.verify_settings(config)
    described = {"epsilon": effort.radius(config), "robustness_type": wanted.robustness_type, **asdict(settings)}
    instances: ImageInstances | PropertyInstances
    if of_properties:
        rows = configured_properties(config, device)
        instances, files = rows, property_outputs(config, rows, "native", described)
    else:
        images = configured_images(config, device)
        instances, files = images, image_outputs(config, images, NATIVE_METHODS, engine="native", settings=described)
    torch.manual_seed(settings.seed)
    engine = NativeEngine(settings, device, files.recorder)
    return Run(instances, engine, files.results, files.recorder, files.counterexamples)
