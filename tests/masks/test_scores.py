from __future__ import annotations

import pytest
import torch

from abcrown_graft import files
from abcrown_graft.errors import DataError, FileFormatError
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.masks.scores import SiteScores

MODEL = ModelIdentity("a", "b", {"z": (2, 1), "a": (3,)})
VALUES = {"a": torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), "z": torch.tensor([[1.0], [2.0]])}


@pytest.mark.parametrize("kind", ["significance", "instability"])
@pytest.mark.parametrize("model", [MODEL, None])
def test_storage_keeps_values_bit_for_bit_and_the_order_of_the_sites(tmp_path, kind, model):
    scores = SiteScores(kind, VALUES, model, {"images": 1000})
    scores.save(tmp_path / "scores.safetensors")
    loaded = SiteScores.load(tmp_path / "scores.safetensors", kind)
    assert list(loaded.values) == list(scores.values) == (["z", "a"] if model else ["a", "z"])
    assert all(torch.equal(loaded.values[name], VALUES[name].double()) for name in VALUES)
    assert (loaded.kind, loaded.model, loaded.provenance) == (kind, model, {"images": 1000})


def test_values_become_float64():
    assert SiteScores("significance", VALUES).values["z"].dtype == torch.float64


def test_instability_is_not_mistaken_for_significance(tmp_path):
    SiteScores("instability", VALUES).save(tmp_path / "scores.safetensors")
    with pytest.raises(FileFormatError, match="'instability-scores' file, expected 'significance'"):
        SiteScores.load(tmp_path / "scores.safetensors")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(DataError, match=f"significance scores of site 'a' hold {bad}"):
        SiteScores("significance", {"a": torch.tensor([1.0, bad])})


def test_scores_of_another_model_or_kind_are_refused():
    with pytest.raises(DataError, match="missing sites: 'z'"):
        SiteScores("significance", {"a": VALUES["a"]}, MODEL)
    with pytest.raises(DataError, match="unknown kind of scores 'magnitude'"):
        SiteScores("magnitude", VALUES)
    with pytest.raises(DataError, match="unknown kind of scores 'magnitude'"):
        SiteScores.load("nowhere", "magnitude")


@pytest.mark.parametrize(
    ("values", "header", "message"),
    [
        (VALUES, {}, "header and the tensors name different sites"),
        (VALUES, {"sites": ["a"]}, "header and the tensors name different sites"),
        ({"a": torch.tensor([float("nan")])}, {"sites": ["a"]}, "hold nan"),
        (VALUES, {"sites": ["a", "z"], "model": {"sites": []}}, "model identity"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, values, header, message):
    files.save_tensors(tmp_path / "scores.st", "significance", values, header)
    with pytest.raises(FileFormatError, match=rf"scores\.st: .*{message}"):
        SiteScores.load(tmp_path / "scores.st")
