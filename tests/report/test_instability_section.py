"""Neurons unstable on m images."""

from __future__ import annotations

import numpy as np
import pytest
from report_runs import RunWriter

from abcrown_graft.errors import FileFormatError
from abcrown_graft.masks.dump import empty, load
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.report.instability_section import BINS, WHOLE, edges, instability_section, neuron_counts
from abcrown_graft.report.run_folder import open_run


def test_m_of_every_neuron(run: RunWriter) -> None:
    dump = load(run.folder / "verify_baseline_instability.safetensors")
    assert neuron_counts(dump, WHOLE).tolist() == neuron_counts(dump, "2").tolist() == [3, 1, 1, 1]


def test_the_table_by_hand(run: RunWriter) -> None:
    section = instability_section(open_run(run.folder))
    (table,) = section.tables
    assert table.rows[0] == ("all layers", "4", "2", "100.00", "50.00", "25.00", "25.00", "25.00", "0.00")
    assert table.rows[1][0] == "2" and table.rows[1][1:] == table.rows[0][1:]
    assert section.text == ("Both networks were counted on the same 3 images.",)
    assert len(section.plots) == 1


def test_other_images_are_told(run: RunWriter) -> None:
    run.counted("grafted", {1: [1], 2: [2], 5: []})
    (text,) = instability_section(open_run(run.folder)).text
    assert "baseline was counted on 3 images and the grafted network on 3; 2 are the same" in text


@pytest.mark.parametrize("largest", [1, 2, 39, 40, 41, 100, 1000])
def test_bins_hold_whole_numbers_from_one_to_the_largest(largest: int) -> None:
    found = edges(largest)
    assert found[0] == 0.5 and largest <= found[-1] and len(found) <= BINS + 2
    assert np.histogram(np.arange(1, largest + 1), found)[0].sum() == largest
    assert np.histogram([0], found)[0].sum() == 0


def test_nothing_to_show_where_nothing_was_counted(run: RunWriter) -> None:
    path = run.folder / "verify_grafted_instability.safetensors"
    empty(run.grafted.identity, run.grafted.grafted, {}).save(path)
    section = instability_section(open_run(run.folder))
    assert "No image was counted" in section.text[0] and not section.plots


def test_a_dump_of_another_model_is_refused(run: RunWriter) -> None:
    path = run.folder / "verify_grafted_instability.safetensors"
    empty(ModelIdentity("a", "w", {"5": (4,)}), {}, {}).save(path)
    with pytest.raises(FileFormatError, match=r"verify_grafted_instability.safetensors: of another model .*'5'"):
        instability_section(open_run(run.folder))
