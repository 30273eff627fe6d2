"""Per-neuron scores that masks are selected from: instability r_u and significance r_s."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from abcrown_graft import files
from abcrown_graft.errors import DataError, FileFormatError
from abcrown_graft.masks.identity import ModelIdentity, explain_sites

# An instability *dump* is a file of kind "instability"; bare instability scores are something else.
FILE_KINDS = {"significance": "significance", "instability": "instability-scores"}


@dataclass(frozen=True, eq=False)
class SiteScores:
    """One finite number per neuron.

    Attributes:
        kind: "instability" or "significance".
        values: by site, a float64 tensor of the site's shape (other dtypes are converted).
        model: the model that was scored, or None where it is not known (files of the published code).
        provenance: how the scores were made; JSON.

    Raises:
        DataError: an unknown kind, a value that is not finite, or sites and shapes that are not the model's.
    """

    kind: str
    values: Mapping[str, Tensor]
    model: ModelIdentity | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _file_kind(self.kind)
        found = {name: tuple(score.shape) for name, score in self.values.items()}
        difference = explain_sites(self.model.sites, found) if self.model else ""
        if difference:
            raise DataError(f"the {self.kind} scores do not fit their model: {difference}")
        order = self.model.sites if self.model else self.values
        values = {name: self.values[name].detach().to(torch.float64) for name in order}
        for name, score in values.items():
            wrong = ~torch.isfinite(score)
            if bool(wrong.any()):
                raise DataError(
                    f"the {self.kind} scores of site {name!r} hold {score[wrong][0].item()}; "
                    "check the model's weights and score it again"
                )
        object.__setattr__(self, "values", values)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a safetensors file with the model's identity and the provenance."""
        header = {
            "model": self.model.to_header() if self.model else None,
            "sites": list(self.values),
            "provenance": dict(self.provenance),
        }
        files.save_tensors(path, _file_kind(self.kind), self.values, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str], kind: str = "significance") -> SiteScores:
        """The scores of that kind that `save` wrote.

        Raises:
            FileFormatError: the file is missing, damaged, of another kind, or holds values that are not finite.
        """
        tensors, header = files.load_tensors(path, _file_kind(kind))
        model = ModelIdentity.from_header(header["model"], str(path)) if header.get("model") else None
        sites = header.get("sites")
        if not isinstance(sites, list) or sorted(map(str, sites)) != sorted(tensors):
            raise FileFormatError(f"{path}: the header and the tensors name different sites; make the file again")
        try:
            return cls(kind, {name: tensors[name] for name in sites}, model, header.get("provenance", {}))
        except DataError as error:
            raise FileFormatError(f"{path}: {error}") from None


def _file_kind(kind: str) -> str:
    if kind not in FILE_KINDS:
        raise DataError(f"unknown kind of scores {kind!r}; known: {', '.join(sorted(FILE_KINDS))}")
    return FILE_KINDS[kind]
