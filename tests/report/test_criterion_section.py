"""Instability against significance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from report_runs import MASK, RunWriter, loaded, plain_core

from abcrown_graft.assembly.ledger import Ledger, hashes
from abcrown_graft.errors import FileFormatError
from abcrown_graft.masks.dump import empty, load
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.masks.scores import SiteScores
from abcrown_graft.report.criterion_section import criterion_section, read_criterion, score_files
from abcrown_graft.report.run_folder import open_run

OTHER = loaded(plain_core(bias=7.0)).identity
SCORES = {"2": torch.ones(4)}


def test_the_three_files_neuron_by_neuron(run: RunWriter) -> None:
    found = read_criterion(*score_files(open_run(run.folder)))
    assert found.instability.tolist() == [1.0, 0.5, 0.0, 0.5]
    assert found.significance.tolist() == pytest.approx([0.1, 0.2, 0.4, 0.3])
    assert found.grafted.tolist() == [True, False, False, True] and found.method == "gradient"


def test_means_of_grafted_and_kept_neurons(run: RunWriter) -> None:
    section = criterion_section(open_run(run.folder))
    assert section.tables[0].rows == (("grafted", "2", "0.75", "0.2"), ("kept", "2", "0.25", "0.3"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"split": "train"}, "training images"), ({"split": "test"}, "test images"), ({}, "counted images")],
)
def test_the_caption_says_which_images_were_counted(run: RunWriter, settings: dict[str, str], told: str) -> None:
    path = run.folder / "instability.safetensors"
    dump = load(path)
    replace(dump, settings=settings).save(path)
    assert f"(share of {told} on which it is unstable)" in criterion_section(open_run(run.folder)).plots[0].caption


def test_scores_of_runs_that_did_not_name_their_method_are_found(run: RunWriter) -> None:
    (run.folder / "significance_gradient.safetensors").rename(run.folder / "significance.safetensors")
    assert len(criterion_section(open_run(run.folder)).plots) == 1


@pytest.mark.parametrize("name", ["instability", "mask"])
def test_a_missing_file_is_told_and_is_no_error(run: RunWriter, name: str) -> None:
    (run.folder / f"{name}.safetensors").unlink()
    section = criterion_section(open_run(run.folder))
    assert section.text == (f"Not shown: {name}.safetensors is not in the run's folders.",) and not section.plots


def test_a_mask_chosen_after_the_tuning_is_refused(run: RunWriter) -> None:
    mask = run.folder / "mask.safetensors"
    Ledger(run.folder / "stages.json").note("tune", {"reads": hashes([mask])})
    assert criterion_section(open_run(run.folder)).plots
    GraftMask({"2": ~MASK["2"]}, loaded(plain_core()).identity, {}).save(mask)
    with pytest.raises(FileFormatError, match=r"mask\.safetensors: changed after the stage 'tune' read it"):
        criterion_section(open_run(run.folder))


def other_scores(folder: Path) -> None:
    SiteScores("significance", SCORES, OTHER).save(folder / "significance_gradient.safetensors")


def other_mask(folder: Path) -> None:
    GraftMask(MASK, OTHER, {}).save(folder / "mask.safetensors")


def empty_dump(folder: Path) -> None:
    model = loaded(plain_core()).identity
    empty(model, {}, {}).save(folder / "instability.safetensors")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (other_scores, "significance_gradient.safetensors: of another model than .*other weights"),
        (other_mask, "mask.safetensors: of another model than .*other weights"),
        (empty_dump, "instability.safetensors: counts no image"),
        (lambda folder: (folder / "mask.safetensors").write_bytes(b"x"), "mask.safetensors: not a complete"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(run: RunWriter, damage, told: str) -> None:
    damage(run.folder)
    with pytest.raises(FileFormatError, match=told):
        criterion_section(open_run(run.folder))
