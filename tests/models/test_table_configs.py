"""The YAML files of the tables: rows over common settings, which share one plain network and write apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from abcrown_graft.assembly.record import label
from abcrown_graft.config import Config, check_engine, load_config
from abcrown_graft.config.experiments import find_configs
from abcrown_graft.models.definitions import model_definition
from abcrown_graft.pipeline.several import check_apart, with_seeds
from abcrown_graft.pipeline.training import train_settings, tune_settings
from abcrown_graft.training.method import METHODS

LABELS = {
    "baseline": "baseline",
    "gap50": "GAP 50 %",
    "graft30": "grafting 30 %",
    "graft50": "grafting 50 %",
    "graft50_fit": "grafting 50 %, fitted lines",
    "graft80": "grafting 80 %",
    "random50": "random 50 %",
    "sap50": "SAP 50 %",
}
MAGNITUDE = "grafting by -r_s (magnitude) 50 %, fitted lines"
TABLES = {
    "mnist_cnn_a": {**LABELS, "hydra50": "Hydra 50 %", "ibp": "baseline (ibp)", "crown_ibp": "baseline (crown-ibp)"},
    "mnist_convbig": LABELS,
    "cifar_cnn_b": {
        **LABELS,
        "hydra50": "Hydra 50 %",
        "graft50_magnitude": MAGNITUDE,
        "random50_fit": "random 50 %, fitted lines",
    },
    "cifar_resnet_4b": {**LABELS, "hydra50": "Hydra 50 %"},
    "cifar_convbig": {**LABELS, "hydra50": "Hydra 50 %"},
    "ablation": {
        "insignificant": "grafting by -r_s 50 %",
        "gamma1": "grafting by r_u - r_s 50 %",
        "gamma2": "grafting by 2 r_u - r_s 50 %",
        "unstable": "grafting by r_u 50 %",
        "paper": "grafting 50 %",
        "per_layer": "grafting 50 % of each layer",
        "random": "random 50 %",
    },
}
IMAGES = {"ablation": (100, 1000)}  # of the test split: verified, and evaluated; elsewhere 200 and all
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
        images = config["data.end"] - config["data.start"], config["evaluate.limit"]
        assert images == IMAGES.get(table, (200, None))


@pytest.mark.parametrize("table", TABLES)
def test_rows_differ_in_little(table: str) -> None:
    for file in find_configs(f"exp_configs/tables/{table}"):
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        assert lines[0].startswith("include: ../") and len(lines) <= 12, file


def test_the_ablation_has_one_plain_network() -> None:
    configs = rows("ablation").values()
    assert {config["pipeline.baseline"] for config in configs} == {"runs/tables/ablation/baseline"}
    assert {config["mask.ratio"] for config in configs} == {0.5}


def test_a_table_has_one_plain_network_for_all_that_is_grafted() -> None:
    for table in ("mnist_cnn_a", "mnist_convbig", "cifar_cnn_b", "cifar_resnet_4b", "cifar_convbig"):
        own = Path(f"runs/tables/{table}/baseline")
        for name, config in rows(table).items():
            certified = bool(METHODS[config["train.method"]].certified_by)
            expected = Path(f"runs/tables/{table}/{name}") if certified else own
            assert config.path("pipeline.baseline", must_exist=False) == expected, name
