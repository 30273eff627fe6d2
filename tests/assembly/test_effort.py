from __future__ import annotations

import math
import re

import pytest
import torch

from abcrown_graft.assembly import effort
from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config
from abcrown_graft.data import ImageData
from abcrown_graft.errors import ConfigError, DataError

IMAGES = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2])
PLAIN = ImageData("D", "test", IMAGES, LABELS, 3)
BOUNDED = ImageData("D", "test", IMAGES, LABELS, 3, None, IMAGES.double() - 0.1, IMAGES.double() + 0.2)
AIMED = ImageData("D", "test", IMAGES, LABELS, 3, torch.tensor([1, 2, 0]))


def configured(**values: object) -> Config:
    return load_config(None, {key.replace("__", "."): value for key, value in values.items()})


def test_the_attack_of_the_section_attack() -> None:
    found = effort.attack_settings(configured(attack__pgd_steps=7, attack__pgd_restarts=3, attack__pgd_alpha="0.01"))
    assert (found.steps, found.restarts, found.alpha) == (7, 3, 0.01)
    assert effort.attack_settings(configured()).alpha is None
    assert effort.attack_settings(configured(attack__pgd_order="skip")) is None


def test_the_settings_of_a_verification() -> None:
    found = effort.verify_settings(
        configured(
            solver__bound_prop_method="ibp",
            bab__timeout=60.0,
            bab__override_timeout=5.0,
            general__double_fp=True,
            general__seed=4,
            solver__batch_size=9,
            attack__pgd_order="skip",
        )
    )
    assert (found.method, found.timeout, found.double) == ("interval", 5.0, True)
    assert (found.seed, found.batch_size, found.attack, found.incomplete) == (4, 9, None, True)
    assert effort.verify_settings(configured(bab__timeout=60.0)).timeout == 60


def test_the_section_mip() -> None:
    assert effort.mip_settings(configured()).solver == "auto", "HiGHS may step in"
    found = effort.mip_settings(configured(solver__mip__mip_solver="highs", solver__mip__solver_threads=2))
    assert (found.solver, found.threads) == ("highs", 2)


def test_what_is_to_be_proved() -> None:
    runnerup = configured(specification__epsilon=0.25, specification__robustness_type="runnerup")
    ball = effort.specification(runnerup, PLAIN)
    assert (ball.epsilon, ball.kind, ball.lower) == (0.25, "runnerup", None)
    box = effort.specification(configured(specification__type="box"), BOUNDED)
    assert box.epsilon is None and box.lower is BOUNDED.lower
    aimed = configured(specification__epsilon=0.25, specification__robustness_type="specify-target")
    assert effort.specification(aimed, AIMED).targets is AIMED.targets


@pytest.mark.parametrize(
    ("values", "data", "error", "told"),
    [
        ({"type": "box"}, PLAIN, DataError, "specification.type: box, but D gives no data_min and data_max"),
        ({"epsilon": 0.1}, BOUNDED, DataError, "lp, but D gives data_min and data_max; set it to box"),
        ({"type": "bound", "epsilon": 0.1}, BOUNDED, ConfigError, "takes the data set's bounds; remove it"),
        ({"epsilon": 0.1, "robustness_type": "specify-target"}, PLAIN, DataError, "D has no target_label"),
        ({}, PLAIN, ConfigError, "specification.epsilon: not set"),
    ],
)
def test_specifications_that_do_not_fit_the_data(values, data, error, told) -> None:
    config = configured(**{f"specification__{key}": value for key, value in values.items()})
    with pytest.raises(error, match=re.escape(told)):
        effort.specification(config, data)


def test_what_is_skipped() -> None:
    assert effort.search_settings(configured(general__complete_verifier="skip")) is not None, "α-CROWN is left"
    assert effort.search_settings(configured()).max_domains == math.inf
    bare = configured(general__complete_verifier="skip", solver__bound_prop_method="crown")
    assert effort.search_settings(bare) is None


SPLIT = "bab__branching__input_split__"


class TestInputSplit:
    def test_it_is_for_networks_of_few_inputs(self) -> None:
        found = effort.verify_settings(configured(specification__epsilon=0.1)).input_split
        assert (found.most_inputs, found.alone, found.branching.method) == (20, False, "smear")
        assert effort.input_split(configured(**{f"{SPLIT}input_dim_threshold": 0})).most_inputs == 0

    def test_it_is_for_all_where_it_is_enabled(self) -> None:
        found = effort.input_split(configured(**{f"{SPLIT}enable": True}))
        assert (found.most_inputs, found.alone) == (math.inf, True)

    def test_the_rules_of_abcrown(self) -> None:
        chosen = {f"{SPLIT}enable": True, f"{SPLIT}sb_margin_weight": 0.5, f"{SPLIT}sb_sum": True}
        config = configured(bab__branching__method="sb", **chosen, **{f"{SPLIT}sb_coeff_thresh": 0.25})
        found = effort.input_split(config).branching
        assert (found.method, found.sb_margin_weight, found.sb_sum, found.sb_coeff_thresh) == ("sb", 0.5, True, 0.25)
        assert effort.search_settings(config).branching.method == "kfsb", "of neurons"

    def test_a_rule_for_neurons_means_neurons(self) -> None:
        config = configured(bab__branching__method="babsr")
        assert effort.input_split(config) is None
        assert effort.search_settings(config).branching.method == "babsr"

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            ({"bab__branching__method": "sb"}, "bab.branching.method: 'sb': chooses inputs; set bab.branching.input"),
            ({"bab__branching__method": "random", f"{SPLIT}enable": True}, "'random': chooses neurons, but"),
            ({"general__complete_verifier": "mip", f"{SPLIT}enable": True}, "'mip': splits no inputs"),
            ({"bab__clip_n_verify__clip_input_domain__enabled": True}, "only boxes of inputs are clipped"),
            ({f"{SPLIT}sb_sum": True, f"{SPLIT}enable": True}, "is read by bab.branching.method sb alone"),
        ],
    )
    def test_options_that_rule_each_other_out(self, values, told) -> None:
        with pytest.raises(ConfigError, match=re.escape(told)):
            effort.verify_settings(configured(specification__epsilon=0.1, **values))


@pytest.mark.parametrize(
    ("device", "verifier", "chosen", "count"),
    [
        *[("cpu", "bab", None, 1), ("cuda", "bab", None, 16), ("cuda", "bab", 3, 3), ("cpu", "skip", 5, 5)],
        *[("cuda", "mip", None, 1), ("cuda", "auto", 1, 1)],
    ],
)
def test_instances_side_by_side(device: str, verifier: str, chosen: int | None, count: int) -> None:
    values = {"general__device": device, "general__complete_verifier": verifier, "bab__instances": chosen}
    config = configured(specification__epsilon=0.1, **values)
    assert effort.verify_settings(config).search_together == count


def test_programs_are_not_solved_side_by_side() -> None:
    config = configured(specification__epsilon=0.1, general__complete_verifier="mip", bab__instances=4)
    with pytest.raises(ConfigError, match=r"bab\.instances: 4, but mip solves its programs one by one"):
        effort.verify_settings(config)
