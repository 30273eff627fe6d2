"""The job of a process that runs α,β-CROWN: a folder with its configuration, the images and a list of tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from abcrown_graft.assembly.options import DataOptions
from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.engines.abcrown.locate import Installation
from abcrown_graft.files import Limit, parse_json, read_text, save_tensors
from abcrown_graft.masks.options import InstabilityOptions

if TYPE_CHECKING:
    from torch import Tensor

HOOKS, SUBJECT = "abcrown_graft.plugin.hooks", "abcrown_graft.engines.abcrown.subject"
OWN_CONFIG, ABCROWN_CONFIG, INSTANCES, JOB, REPORTS = (
    *("config.yaml", "abcrown.yaml", "instances.safetensors", "job.json", "reports.jsonl"),
)
INSTANCES_KIND, FINDING_KIND = "abcrown-instances", "abcrown-finding"
LIMIT = Limit(2**30, "which no job is")
LAST = "last"  # in a report after which the process ends, although tasks are left
# Where the model, the images and the results are; the process is told in other ways.
_REPLACED = (
    *("general.engine", "general.abcrown_path", "general.abcrown_log", "general.allow_unsound", "general.progress"),
    *("general.results_file", "general.root_path", "general.save_adv_example", "attack.cex_path"),
    *("model.name", "model.path", "model.input_shape", "data.", "specification.type", "specification.epsilon"),
)


@dataclass(frozen=True)
class Task:
    """What is to be done about one image.

    Attributes:
        index: of the image in its data set.
        row: of the image among the job's instances.
        verify: whether α,β-CROWN is to decide it.
        count: whether its unstable neurons are to be told.
        only_open: they are to be told only if its bounds leave it open.
    """

    index: int
    row: int
    verify: bool
    count: bool = False
    only_open: bool = False


@dataclass(frozen=True)
class Job:
    """The contents of a job's folder.

    Attributes:
        folder: where the job lies, and where findings go.
        paths: folders to import auto_LiRPA and α,β-CROWN from.
        config_file: the user's configuration file, which relative names in it start from.
        method: "crown" or "alpha-crown", which unstable neurons are counted by.
        tasks: in order.
    """

    folder: Path
    paths: tuple[str, ...]
    config_file: str | None
    method: str
    tasks: tuple[Task, ...]

    @property
    def reports(self) -> Path:
        """Where the process reports, one JSON object in each line."""
        return self.folder / REPORTS

    @property
    def config(self) -> Config:
        """The configuration of the parent process."""
        found = load_config(self.folder / OWN_CONFIG)
        return Config(found.values, {}, None if self.config_file is None else Path(self.config_file))

    def finding(self, index: int) -> Path:
        """Where the tensors that belong to the report on an image go."""
        return self.folder / f"finding_{index}.safetensors"


def write_job(
    folder: Path, config: Config, found: Installation, instances: Mapping[str, Tensor], tasks: Sequence[Task]
) -> Job:
    """Writes the files of a job.

    Args:
        folder: an empty one.
        config: of the parent process.
        found: where α,β-CROWN and auto_LiRPA are.
        instances: by name, a row for each image: `images`, `lower` and `upper` `(n, *shape)`, normalised; `labels`,
            `runnerup` and `targets` `(n,)`; `outputs` `(n, classes)` of our model on the clean images.
        tasks: in the order in which they are to be done.
    """
    paths = tuple(str(part.folder) for part in (found.lirpa, found.verifier))
    file = None if config.file is None else str(config.file.absolute())
    job = Job(folder, paths, file, config.settings(InstabilityOptions).method, tuple(tasks))
    (folder / OWN_CONFIG).write_text(config.to_yaml(), encoding="utf-8")
    (folder / ABCROWN_CONFIG).write_text(abcrown_yaml(config, folder), encoding="utf-8")
    save_tensors(folder / INSTANCES, INSTANCES_KIND, instances, {})
    text = json.dumps({"paths": paths, "config_file": file, "method": job.method, "tasks": [asdict(t) for t in tasks]})
    (folder / JOB).write_text(text, encoding="utf-8")
    job.reports.touch()
    return job


def read_job(folder: Path) -> Job:
    """The job that `write_job` left in a folder."""
    told = parse_json(read_text(folder / JOB, LIMIT))
    tasks = tuple(Task(**task) for task in told["tasks"])
    return Job(folder, tuple(told["paths"]), told["config_file"], told["method"], tasks)


def abcrown_yaml(config: Config, folder: Path) -> str:
    """α,β-CROWN's own configuration: all that the user set, with model, images and files of ours.

    Every instance is a box in normalised pixels, so that all kinds of perturbation arrive as they are meant.
    """
    chosen = {key: config[key] for key in SCHEMA if _is_passed(config, key)}
    chosen |= {
        "general.results_file": str(folder / "abcrown_results"),
        "general.save_adv_example": True,  # without it, α,β-CROWN's MIP keeps its counterexamples to itself
        "attack.cex_path": str(folder / "counterexample.txt"),
        "model.name": f'Customized("{SUBJECT}", "network", {str(folder)!r})',
        "data.num_outputs": config.settings(DataOptions).num_outputs,
        "specification.type": "box",
    }
    if config.is_default("general.graph_optimizer"):
        chosen["general.graph_optimizer"] = f'Customized("{HOOKS}", "graph_optimizer")'
    return yaml.safe_dump(_nested(chosen), sort_keys=False, allow_unicode=True)


def is_named(key: str, names: Sequence[str]) -> bool:
    """Whether a key is among the names; one that ends in a dot stands for all keys of its section."""
    return any(key.startswith(name) if name.endswith(".") else key == name for name in names)


def _is_passed(config: Config, key: str) -> bool:
    option = SCHEMA[key]
    if "abcrown" not in option.engines or is_named(key, _REPLACED):
        return False
    return key in config.origins or not config.is_default(key)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *groups, leaf = key.split(".")
        level = nested
        for group in groups:
            level = level.setdefault(group, {})
        level[leaf] = list(value) if isinstance(value, tuple) else value
    return nested
