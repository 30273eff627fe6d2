"""The network and the images of a job; α,β-CROWN finds them through `Customized(...)`. Runs in its process only."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from abcrown_graft.assembly.inputs import configured_model
from abcrown_graft.bounds.evaluation import unexplained, value_and_rounding
from abcrown_graft.engines.abcrown.instances import pixels
from abcrown_graft.engines.abcrown.job import INSTANCES, SUBJECT, read_job
from abcrown_graft.engines.abcrown.network import as_abcrown_network
from abcrown_graft.errors import ModelError
from abcrown_graft.models.load import LoadedModel

_BATCH = 64


@functools.lru_cache(maxsize=1)
def network(folder: str) -> nn.Module:
    """The configured network without normalisation, as α,β-CROWN takes it, in torch's default precision."""
    return as_abcrown_network(_loaded(folder).core)


@functools.lru_cache(maxsize=1)
def _loaded(folder: str) -> LoadedModel:
    precision = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)  # what models are built and read in
    try:
        return configured_model(read_job(Path(folder)).config)
    finally:
        torch.set_default_dtype(precision)


def instance(folder: str, row: int, specification: Mapping[str, Any]) -> dict[str, Any]:
    """One image as a data set of α,β-CROWN's: normalised pixels and bounds, `(1, *shape)`.

    Args:
        folder: of the job.
        row: of the image among the job's instances.
        specification: α,β-CROWN's section of that name; the job says all of it already.
    """
    with safe_open(str(Path(folder) / INSTANCES), framework="pt") as file:
        names = file.keys()
        rows = {name: file.get_slice(name)[row : row + 1] for name in names}
    return {
        "X": rows["images"],
        "labels": rows["labels"],
        "data_min": rows["lower"],
        "data_max": rows["upper"],
        "eps": None,
        "norm": math.inf,
        "runnerup": rows["runnerup"],
        "target_label": rows.get("targets"),
    }


def dataset_name(folder: Path, row: int) -> str:
    """`data.dataset` of one image."""
    return f'Customized("{SUBJECT}", "instance", {str(folder)!r}, {row})'


def check_outputs(folder: str) -> None:
    """Holds the network against the parent's on the clean images that have finite outputs there.

    They may differ by what each of the two may round in float32, see `bounds/evaluation.py`.

    Raises:
        ModelError: they are not the same function.
    """
    model = network(folder)
    with safe_open(str(Path(folder) / INSTANCES), framework="pt") as file:
        images, expected = file.get_tensor("images"), file.get_tensor("outputs")
    with torch.no_grad():
        found = torch.cat([model(part.to(torch.get_default_dtype())) for part in images.split(_BATCH)])
    points = pixels(read_job(Path(folder)).config, images)
    units = torch.cat([value_and_rounding(_loaded(folder).executed, part)[1] for part in points.split(_BATCH)])
    _compare(found.double(), expected.double(), units * torch.finfo(torch.float32).eps)


def _compare(found: Tensor, expected: Tensor, allowed: Tensor) -> None:
    finite = expected.isfinite().all(1)
    if (worst := unexplained(found[finite], expected[finite], allowed[finite])) is not None:
        raise ModelError(f"the network that α,β-CROWN got differs by {worst[0]:.2e} on the clean images")
