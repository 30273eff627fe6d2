"""The YAML files of the tables: rows over common settings, which share one plain network and write apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from abcrown_graft.config import Config, check_engine, load_config
from abcrown_graft.config.experiments import find_configs
from abcrown_graft.models.definitions import model_definition
from abcrown_graft.pipeline.record import label
from abcrown_graft.pipeline.several import check_apart, with_seeds
from abcrown_graft.pipeline.training import train_settings, tune_settings

LABELS = {
    "baseline": "baseline",
    "gap50": "GAP 50 %",
    "graft30": "grafting 30 %",
    "graft50": "grafting 50 %",
    "graft80": "grafting 80 %",
    "random50": "random 50 %",
    "sap50": "SAP 50 %",
}
TABLES = {
    "mnist_cnn_a": LABELS,
    "mnist_convbig": LABELS,
    "cifar_cnn_b": {**LABELS, "hydra50": "Hydra 50 %"},
    "ablation": {
        "insignificant": "grafting by -r_s 50 %",
        "gamma1": "grafting by r_u - r_s 50 %",
        "gamma2": "grafting by 2 r_u - r_s 50 %",
        "unstable": "grafting by r_u 50 %",
        "paper": "grafting 50 %",
    },
}
EPSILON = {"MNIST": 0.1, "CIFAR": 2 / 255}


def rows(table: str) -> dict[str, Config]:
    return {file.stem: load_config(file) for file in find_configs(f"exp_configs/tables/{table}")}


@pytest.mark.parametrize("table", TABLES)
def test_each_row_has_its_label(table: str) -> None:
    assert {name: label(config) for name, config in rows(table).items()} == TABLES[table]


@pytest.mark.parametrize("table", TABLES)
def test_one_command_runs_the_table_for_one_seed_or_several(table: str) -> None:
    configs = list(rows(table).values())
    check_apart(configs)
    check_apart(with_seeds(configs, [100, 101, 102]))


@pytest.mark.parametrize("table", TABLES)
def test_every_setting_is_one_that_the_stages_and_the_native_engine_take(table: str) -> None:
    for config in rows(table).values():
        check_engine(config, "native")
        train_settings(config)
        tune_settings(config)
        assert model_definition(config["model.name"]).input_shape is not None
        assert config["specification.epsilon"] == pytest.approx(EPSILON[config["data.dataset"]], rel=1e-9)
        assert (config["data.start"], config["data.end"], config["evaluate.limit"]) == (0, 200, None)


@pytest.mark.parametrize("table", TABLES)
def test_rows_differ_in_little(table: str) -> None:
    for file in find_configs(f"exp_configs/tables/{table}"):
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        assert lines[0].startswith("include: ../") and len(lines) <= 12, file


def test_the_ablation_shares_a_row_and_the_plain_network_with_the_table() -> None:
    ablation, table = rows("ablation"), rows("mnist_cnn_a")
    assert ablation["paper"] == table["graft50"]
    assert {config["pipeline.baseline"] for config in ablation.values()} == {"runs/tables/mnist_cnn_a/baseline"}
    assert table["baseline"].path("pipeline.output", must_exist=False) == Path("runs/tables/mnist_cnn_a/baseline")
