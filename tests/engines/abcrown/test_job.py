"""What the process that runs α,β-CROWN is told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fake_abcrown import FOUND

from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.engines.abcrown.job import (
    INSTANCES,
    INSTANCES_KIND,
    Job,
    Task,
    abcrown_yaml,
    is_named,
    read_job,
    write_job,
)
from abcrown_graft.files import load_tensors

SUBJECT = {"model.name": "digits_cnn", "model.path": "w.st", "data.dataset": "DIGITS", "specification.epsilon": 0.1}
TASKS = (Task(7, 0, True), Task(9, 1, False, True, True))


def passed(**changed: Any) -> dict[str, Any]:
    """What the YAML for α,β-CROWN says, by dotted key."""
    values = {**SUBJECT, **{key.replace("__", "."): value for key, value in changed.items()}}
    return flat(yaml.safe_load(abcrown_yaml(load_config(None, values), Path("/job's"))))


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in nested.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def written(folder: Path, **changed: Any) -> Job:
    (folder / "a.yaml").write_text("solver: {batch_size: 7}\n")
    config = load_config(folder / "a.yaml", {**SUBJECT, **changed})
    (folder / "job").mkdir()
    return write_job(folder / "job", config, FOUND, {"images": torch.rand(2, 3)}, TASKS)


def test_model_images_property_and_files_are_ours() -> None:
    assert passed() == {
        "general.results_file": "/job's/abcrown_results",
        "general.save_adv_example": True,
        "general.graph_optimizer": 'Customized("abcrown_graft.plugin.hooks", "graph_optimizer")',
        "attack.cex_path": "/job's/counterexample.txt",
        "model.name": """Customized("abcrown_graft.engines.abcrown.subject", "network", "/job's")""",
        "data.num_outputs": 10,
        "specification.type": "box",
    }


def test_the_users_own_values_go_along() -> None:
    found = passed(
        solver__batch_size=7,
        bab__branching__method="fsb",
        bab__max_domains=math.inf,
        general__conv_mode="matrix",
        attack__pgd_alpha=0.25,
        solver__invprop__directly_optimize=["a", "b"],
        specification__robustness_type="runnerup",
        data__num_outputs=3,
        general__root_path="elsewhere",
    )
    assert found["solver.batch_size"] == 7 and found["bab.branching.method"] == "fsb"
    assert found["bab.max_domains"] == math.inf and found["general.conv_mode"] == "matrix"
    assert found["attack.pgd_alpha"] == 0.25 and found["solver.invprop.directly_optimize"] == ["a", "b"]
    assert found["specification.robustness_type"] == "runnerup" and found["data.num_outputs"] == 3
    assert not any(key.startswith("general.root") for key in found)


def test_a_default_that_is_set_goes_along_a_default_that_is_not_does_not() -> None:
    key = "solver.beta-crown.iteration"
    assert key not in passed()
    assert passed(**{key.replace(".", "__"): SCHEMA[key].default})[key] == SCHEMA[key].default


def test_our_own_sections_go_along() -> None:
    found = passed(graft__mask="m.st", instability__dump="d.st", instability__population="bab")
    assert found["graft.mask"] == "m.st" and found["instability.population"] == "bab"


@pytest.mark.parametrize("key", ("general.engine", "general.abcrown_log", "general.allow_unsound", "data.data_dir"))
def test_what_only_we_know_does_not(key: str) -> None:
    values = {"general.engine": "abcrown", "general.allow_unsound": True}
    assert key not in passed(**{key.replace(".", "__"): values.get(key, "x")})


def test_a_key_that_begins_like_one_of_ours_goes_along() -> None:
    found = passed(specification__epsilon_min=0.01)
    assert found["specification.epsilon_min"] == 0.01 and "specification.epsilon" not in found


def test_only_a_name_that_ends_in_a_dot_stands_for_others() -> None:
    names = ("data.", "model.path")
    assert [key for key in ("data.mean", "model.path", "model.path_too", "data") if is_named(key, names)] == [
        *("data.mean", "model.path"),
    ]


def test_options_of_the_pipelines_stages_do_not() -> None:
    assert not any(key.startswith(("train.", "mask.")) for key in passed(train__epochs=3, mask__ratio=0.25))


def test_a_graph_optimizer_of_the_users_own_is_kept() -> None:
    mine = 'Customized("graphs.py", "optimise")'
    assert passed(general__graph_optimizer=mine)["general.graph_optimizer"] == mine


def test_every_key_passed_is_one_of_alpha_beta_crowns_or_declared_to_it() -> None:
    keys = [key for key, option in SCHEMA.items() if option.of_engine]
    config = Config({key: SCHEMA[key].default for key in SCHEMA}, dict.fromkeys(keys, "set"))
    ours = {"general.engine", "general.abcrown_path", "general.abcrown_log", "general.allow_unsound"}
    ours |= {"general.progress", "data.data_dir", "data.split", "debug.test_core"}
    found = set(flat(yaml.safe_load(abcrown_yaml(config, Path("/job")))))
    assert not found & ours and "bab.timeout" in found


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = written(tmp_path)
    assert read_job(job.folder) == job
    assert job.tasks == TASKS and job.paths == ("lirpa", "verifier")
    assert job.reports.read_bytes() == b""
    tensors, _ = load_tensors(job.folder / INSTANCES, INSTANCES_KIND)
    assert tensors["images"].shape == (2, 3)


def test_the_configuration_arrives_whole(tmp_path: Path) -> None:
    job = written(tmp_path, **{"instability.method": "alpha-crown", "data.std": [0.5]})
    config = read_job(job.folder).config
    assert config["solver.batch_size"] == 7 and config["data.std"] == (0.5,) and config["model.path"] == "w.st"
    assert config.file == tmp_path / "a.yaml", "relative names start from the user's own file"
    assert job.method == "alpha-crown"


def test_findings_are_named_by_image(tmp_path: Path) -> None:
    assert written(tmp_path).finding(7).name == "finding_7.safetensors"
