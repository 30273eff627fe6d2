"""Learned slopes and intercepts."""

from __future__ import annotations

import pytest
import torch
from report_runs import MASK, RunWriter, plain_core

from abcrown_graft.assembly.ledger import Ledger, hashes
from abcrown_graft.errors import FileFormatError
from abcrown_graft.files import save_tensors
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.models.checkpoint import save_checkpoint
from abcrown_graft.nn.surgery import graft
from abcrown_graft.report.run_folder import open_run
from abcrown_graft.report.slope_section import read_slopes, slope_section


def save_grafted(run: RunWriter, slopes: list[float], intercepts: list[float]) -> None:
    core = graft(plain_core(), MASK)
    with torch.no_grad():
        core.get_submodule("2").slope.copy_(torch.tensor(slopes))
        core.get_submodule("2").intercept.copy_(torch.tensor(intercepts))
    save_checkpoint(run.folder / "tune.safetensors", core, {"plain": run.plain.identity.to_header()})


def test_only_grafted_neurons_count(run: RunWriter) -> None:
    save_grafted(run, [0.5, 9.0, 9.0, -0.1], [0.0, 9.0, 9.0, 1.0])
    slopes, intercepts = read_slopes(run.folder / "tune.safetensors")["2"]
    assert slopes.tolist() == pytest.approx([0.5, -0.1]) and intercepts.tolist() == [0.0, 1.0]
    section = slope_section(open_run(run.folder))
    assert section.tables[0].rows == (("2", "2", "0.200", "0.300", "50.0", "0.500", "0.500"),)
    assert "where tuning started" in section.plots[0].caption


def test_fitted_lines_start_at_no_common_slope(run: RunWriter) -> None:
    save_grafted(run, [0.5, 9.0, 9.0, -0.1], [0.0, 9.0, 9.0, 1.0])
    settings = run.folder / "tune.config.yaml"
    settings.write_text(settings.read_text().replace("slope: 0.5", "fit_lines: true, slope: 0.5"))
    assert "where tuning started" not in slope_section(open_run(run.folder)).plots[0].caption


def test_a_network_tuned_after_the_verification_is_refused(run: RunWriter) -> None:
    save_grafted(run, [0.5, 9.0, 9.0, -0.1], [0.0, 9.0, 9.0, 1.0])
    tuned = run.folder / "tune.safetensors"
    Ledger(run.folder / "stages.json").note("verify grafted", {"reads": hashes([tuned])})
    assert slope_section(open_run(run.folder)).plots
    save_grafted(run, [0.6, 9.0, 9.0, -0.1], [0.0, 9.0, 9.0, 1.0])
    with pytest.raises(FileFormatError, match=r"tune\.safetensors: changed after the stage 'verify grafted' read it"):
        slope_section(open_run(run.folder))


def test_pruned_neurons_have_nothing_to_show(run: RunWriter) -> None:
    save_grafted(run, [0.0] * 4, [0.0] * 4)
    section = slope_section(open_run(run.folder))
    assert "pruned" in section.text[0] and not section.plots


def test_layers_come_in_forward_order(run: RunWriter) -> None:
    sites = {"2": (1,), "10": (1,), "6": (1,)}
    tensors = {f"{s}.{part}": torch.ones(1) for s in sites for part in ("mask", "slope", "intercept")}
    save_tensors(
        run.folder / "a.safetensors", "checkpoint", tensors, {"plain": ModelIdentity("a", "w", sites).to_header()}
    )
    assert list(read_slopes(run.folder / "a.safetensors")) == ["2", "10", "6"]


def test_a_missing_checkpoint_is_told(run: RunWriter) -> None:
    (run.folder / "tune.safetensors").unlink()
    assert slope_section(open_run(run.folder)).text == ("Not shown: tune.safetensors is not in the run's folder.",)


def test_a_checkpoint_without_slopes_is_refused(run: RunWriter) -> None:
    save_tensors(run.folder / "tune.safetensors", "checkpoint", {"2.mask": torch.ones(4)}, {})
    with pytest.raises(FileFormatError, match="tune.safetensors: no grafted checkpoint at layer '2'"):
        slope_section(open_run(run.folder))
