"""What is compared: networks, radii and settings, and the words that say so to each verifier."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CIFAR_EPSILON = 2 / 255


@dataclass(frozen=True)
class NetworkEntry:
    """A network of the comparison.

    Attributes:
        config: our published configuration of it; α,β-CROWN is given the same model and normalisation.
        weights: its file in the folder of models.
        epsilons: radii, in units of pixels in [0, 1].
        abcrown: what α,β-CROWN's own configuration of this network sets in its sections `solver` and `bab`.
    """

    config: str
    weights: str
    epsilons: tuple[float, ...]
    abcrown: Mapping[str, Any]


_TWENTY_STEPS = {"solver": {"beta-crown": {"iteration": 20}}}
_TWENTY_STEPS_MAX = {**_TWENTY_STEPS, "bab": {"branching": {"reduceop": "max"}}}

# α,β-CROWN's files: exp_configs/beta_crown/cifar_cnn_a_{adv,mix}.yaml, tutorial_examples/{mnist_cnn_a_adv,
# cifar_resnet_2b}.yaml (the latter spells out defaults). Their batch sizes are meant for a GPU.
NETWORKS: Mapping[str, NetworkEntry] = {
    "cifar_cnn_a_adv": NetworkEntry("cnna_cifar.yaml", "cifar_cnn_a_adv.npz", (CIFAR_EPSILON,), _TWENTY_STEPS_MAX),
    "cifar_cnn_a_mix": NetworkEntry("cnna_cifar.yaml", "cifar_cnn_a_mix.npz", (CIFAR_EPSILON,), _TWENTY_STEPS),
    "resnet2b": NetworkEntry("resnet2b_cifar.yaml", "resnet2b.npz", (CIFAR_EPSILON,), _TWENTY_STEPS),
    "mnist_cnn_a_adv": NetworkEntry("cnna_mnist.yaml", "mnist_cnn_a_adv.npz", (0.1, 0.3), _TWENTY_STEPS),
}


@dataclass(frozen=True)
class Case:
    """One row of the table: a network at a radius, with a share of its neurons grafted.

    Attributes:
        network: key of `NETWORKS`.
        epsilon: radius, in units of pixels in [0, 1].
        grafted: share of neurons that are linear, in [0, 1].
    """

    network: str
    epsilon: float
    grafted: float

    @property
    def name(self) -> str:
        """Of the case's folder and in messages."""
        grafted = f"_grafted{self.grafted:g}" if self.grafted else ""
        return f"{self.network}_eps{self.epsilon:.5g}{grafted}"

    @property
    def entry(self) -> NetworkEntry:
        """Its line in `NETWORKS`."""
        return NETWORKS[self.network]


@dataclass(frozen=True)
class Place:
    """Where a case's inputs lie and its files go.

    Attributes:
        folder: of the case.
        data: with the image sets.
        models: with the networks' weights.
        mask: of the grafted neurons.
        instances: images and what our model says about them, see `prepare.py`.
    """

    folder: Path
    data: Path
    models: Path
    mask: Path
    instances: Path


@dataclass(frozen=True)
class Limits:
    """What both verifiers are told alike.

    Attributes:
        timeout: seconds per image.
        pgd: `attack.pgd_order`, skip or before.
    """

    timeout: float
    pgd: str


def cases(words: Sequence[str], shares: Sequence[float]) -> list[Case]:
    """The cases of words such as `cifar_cnn_a_adv` (at each of its radii) or `mnist_cnn_a_adv:0.3`.

    Raises:
        ValueError: an unknown network, a radius that is no number, a share outside [0, 1].
    """
    found = []
    for word in words:
        name, _, radius = word.partition(":")
        if name not in NETWORKS:
            raise ValueError(f"--networks: unknown network {name!r}; known: {', '.join(NETWORKS)}")
        for share in shares:
            if not 0 <= share <= 1:
                raise ValueError(f"--grafted: {share} is not a share in [0, 1]")
            epsilons = (_number(word, radius),) if radius else NETWORKS[name].epsilons
            found += [Case(name, epsilon, share) for epsilon in epsilons]
    return list(dict.fromkeys(found))


def _number(word: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--networks: {word}: {text!r} is not a radius, e.g. mnist_cnn_a_adv:0.3") from None


def model_flags(case: Case, place: Place) -> list[str]:
    """The words that name model, data and radius to our commands."""
    weights = str(place.models / case.entry.weights)
    words = ["--config", case.entry.config, "--load_model", weights, "--data_dir", str(place.data)]
    return [*words, "--epsilon", repr(case.epsilon)]


def graft_flags(case: Case, place: Place) -> list[str]:
    """The words that graft the network; slope 0.4 and intercept 0, no tuning."""
    if not case.grafted:
        return []
    return ["--graft_mask", str(place.mask), "--graft_slope", "0.4", "--graft_intercept", "0"]


def our_flags(case: Case, place: Place, indices: Sequence[int], limits: Limits, results: Path) -> list[str]:
    """The words of `abcrown` that verify the images `indices`."""
    words = [*model_flags(case, place), *graft_flags(case, place), "--engine", "native"]
    words += ["--pgd_order", limits.pgd, "--override_timeout", repr(limits.timeout), "--results_file", str(results)]
    return [*words, "--select_instance", *map(str, indices)]


def abcrown_config(
    case: Case, place: Place, positions: Sequence[int], limits: Limits, batch_size: int
) -> dict[str, Any]:
    """A configuration for α,β-CROWN; as JSON it is a YAML file.

    Args:
        positions: of the images in `place.instances`.
        batch_size: subproblems at once.
    """
    words = json.dumps([*model_flags(case, place), *graft_flags(case, place)])
    config: dict[str, Any] = {
        "general": {"device": "cpu", "results_file": str(place.folder / "abcrown.results")},
        "model": {"name": f'Customized("abcrown_network", "network", {words})'},
        "data": {
            "dataset": f'Customized("abcrown_network", "instances", {json.dumps(str(place.instances))})',
            "select_instance": list(positions),
        },
        "specification": {"epsilon": case.epsilon},
        "attack": {"pgd_order": limits.pgd},
        "solver": {"batch_size": batch_size, **case.entry.abcrown.get("solver", {})},
        "bab": {"override_timeout": limits.timeout, **case.entry.abcrown.get("bab", {})},
    }
    if case.grafted:
        config["general"]["graph_optimizer"] = 'Customized("abcrown_graft.plugin.hooks", "graph_optimizer")'
    return config
