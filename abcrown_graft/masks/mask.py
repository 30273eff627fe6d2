"""Graft masks: which neurons of which model are linear."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from abcrown_graft import files
from abcrown_graft.errors import FileFormatError, MaskError
from abcrown_graft.masks.identity import ModelIdentity, explain_difference, explain_sites


@dataclass(frozen=True, eq=False)
class GraftMask:
    """One boolean per neuron of a model; true (1) = grafted, that is linear.

    Attributes:
        masks: by site, a `torch.bool` tensor of the site's shape (without the batch); put in forward order.
        model: the model that the mask was made for.
        provenance: how the mask was made; JSON.

    Raises:
        MaskError: the sites or shapes are not the model's, or a tensor is not boolean.
    """

    masks: Mapping[str, Tensor]
    model: ModelIdentity
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = {name: tuple(mask.shape) for name, mask in self.masks.items()}
        difference = explain_sites(self.model.sites, found)
        if difference:
            raise MaskError(f"the mask does not fit its model: {difference}")
        for name, mask in self.masks.items():
            if mask.dtype != torch.bool:
                raise MaskError(
                    f"site {name!r}: the mask has dtype {mask.dtype}, expected torch.bool; convert 0/1 with as_boolean"
                )
        object.__setattr__(self, "masks", {name: self.masks[name] for name in self.model.sites})

    @property
    def count(self) -> int:
        """The number of grafted neurons."""
        return sum(self.count_per_site().values())

    @property
    def size(self) -> int:
        """The number of all neurons, grafted or not."""
        return sum(mask.numel() for mask in self.masks.values())

    def count_per_site(self) -> dict[str, int]:
        """The number of grafted neurons of every site."""
        return {name: int(mask.sum()) for name, mask in self.masks.items()}

    def check(self, model: ModelIdentity, source: str = "mask") -> None:
        """Refuses to serve a model of another structure; other weights are fine (see `same_weights`).

        Args:
            model: the model that the mask is to be applied to.
            source: what the mask was read from, for the error message.

        Raises:
            MaskError: the sites, their shapes or the architecture differ.
        """
        if self.model.sites != model.sites or self.model.architecture != model.architecture:
            difference = explain_difference(model, self.model)
            raise MaskError(f"{source}: the mask is of another model ({difference}); make one for this model")

    def same_weights(self, model: ModelIdentity) -> bool:
        """Whether `model` has the very weights that the mask was made for."""
        return self.model.weights == model.weights

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a safetensors file (uint8, 0 or 1) with the model's identity and the provenance."""
        tensors = {name: mask.to(torch.uint8) for name, mask in self.masks.items()}
        header = {"model": self.model.to_header(), "provenance": dict(self.provenance)}
        files.save_tensors(path, "mask", tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> GraftMask:
        """The mask that `save` wrote.

        Raises:
            FileFormatError: the file is missing, damaged, of another kind, or holds other values than 0 and 1.
        """
        tensors, header = files.load_tensors(path, "mask")
        model = ModelIdentity.from_header(header.get("model"), str(path))
        try:
            masks = {name: as_boolean(tensor, f"site {name!r}") for name, tensor in tensors.items()}
            return cls(masks, model, header.get("provenance", {}))
        except MaskError as error:
            raise FileFormatError(f"{path}: {error}") from None


def as_boolean(values: Tensor, what: str) -> Tensor:
    """A tensor of zeros and ones of any dtype as `torch.bool`.

    Args:
        values: any shape.
        what: names the tensor in the error message.

    Raises:
        MaskError: a value is neither 0 nor 1.
    """
    wrong = (values != 0) & (values != 1)
    if bool(wrong.any()):
        raise MaskError(f"{what}: a mask holds only 0 and 1 (1 = grafted), found {values[wrong][0].item()}")
    return values.to(torch.bool)
