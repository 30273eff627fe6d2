"""The files of a run: where they lie, what their heads say, and what is refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vnnlib_files import HOLDS, benchmark, property_text

from abcrown_graft.assembly.image_instances import configured_images
from abcrown_graft.assembly.outputs import Outputs, image_outputs, property_outputs
from abcrown_graft.assembly.property_instances import configured_properties
from abcrown_graft.config.config import Config
from abcrown_graft.config.experiments import find_config
from abcrown_graft.config.load import load_config
from abcrown_graft.errors import ConfigError, OutputError
from abcrown_graft.formats.results import ResultsFile
from abcrown_graft.formats.vnncomp import VnncompFile


def configured(folder: Path, **changed: Any) -> Config:
    values = {key.replace("__", "."): value for key, value in changed.items()}
    files = {"general.results_file": str(folder / "a" / "out.txt"), "attack.cex_path": str(folder / "b" / "cex.txt")}
    return load_config(find_config("digits_graft"), {"data.end": 2, **files, **values})


def of_images(config: Config) -> Outputs:
    return image_outputs(config, configured_images(config, "cpu"), ("crown",), engine="mine", settings={"effort": 3})


def head(outputs: Outputs) -> dict[str, Any]:
    return json.loads(outputs.results.path.read_text().splitlines()[0])


def test_the_head_says_which_run_it_is_and_where_counterexamples_lie(tmp_path: Path) -> None:
    outputs = of_images(configured(tmp_path, general__save_adv_example=True))
    found = head(outputs)
    assert list(found["run"])[:3] == ["engine", "settings", "model"] and found["run"]["settings"] == {"effort": 3}
    assert (found["run"]["dataset"], found["run"]["indices"]) == ("DIGITS", [0, 1])
    assert found["counterexamples"] == "../b/cex.txt" and outputs.counterexamples == tmp_path / "b" / "cex.txt"
    assert outputs.recorder is None


def test_without_counterexamples_the_head_says_that(tmp_path: Path) -> None:
    outputs = of_images(configured(tmp_path))
    assert head(outputs)["counterexamples"] is None and outputs.counterexamples is None


def test_a_place_that_cannot_be_written_is_refused_before_the_results(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("a file")
    with pytest.raises(OutputError, match=r"cex\.txt"):
        of_images(configured(tmp_path, general__save_adv_example=True))
    assert not (tmp_path / "a").exists()
    of_images(configured(tmp_path))


def test_two_outputs_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="are one file"):
        of_images(configured(tmp_path, instability__dump=str(tmp_path / "a" / "out.txt")))


def of_properties(folder: Path, **changed: Any) -> Outputs:
    values = {key.replace("__", "."): value for key, value in changed.items()}
    files = {"general.results_file": str(folder / "out.txt"), "attack.cex_path": str(folder / "cex.txt")}
    config = load_config(None, {"general.device": "cpu", **files, **values})
    settings = {"effort": 3, "timeout": 9.0}
    return property_outputs(config, configured_properties(config, "cpu"), "mine", settings)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return benchmark(tmp_path / "bench", holds=property_text(HOLDS))


def test_a_list_has_a_results_file_and_its_time_is_the_rows_own(tmp_path: Path, bench: Path) -> None:
    outputs = of_properties(tmp_path, general__csv_name=str(bench / "instances.csv"))
    assert isinstance(outputs.results, ResultsFile) and outputs.recorder is None
    found = head(outputs)
    assert list(found["run"]) == ["engine", "model", "instances", "files", "settings"]
    assert found["run"]["settings"] == {"effort": 3} and "counterexamples" not in found


def test_a_single_instance_has_the_competition_s_file(tmp_path: Path, bench: Path) -> None:
    one = {"model__onnx_path": str(bench / "onnx/norms.onnx"), "general__save_adv_example": True}
    outputs = of_properties(tmp_path, specification__vnnlib_path=str(bench / "vnnlib/holds.vnnlib"), **one)
    assert isinstance(outputs.results, VnncompFile) and outputs.counterexamples == tmp_path / "cex.txt"
