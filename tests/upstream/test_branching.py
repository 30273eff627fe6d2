"""Branching keeps to the neurons that may be split."""

from __future__ import annotations

import pytest
import torch
import upstream

branching = upstream.imported("abcrown_graft.engines.abcrown.branching")
base = upstream.imported("heuristics.base")

SCORES = {"a": torch.tensor([[-3.0, 0.0, -1.0], [2.0, 0.0, 1.0]]), "b": torch.tensor([[-2.0, 5.0], [3.0, 0.0]])}
MASKS = {"a": torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]), "b": torch.tensor([[1.0, 0.0], [1.0, 0.0]])}


def test_scores_of_splittable_neurons_become_positive_in_the_same_order() -> None:
    moved = branching.positive_scores(SCORES, MASKS)
    a, b = moved["a"][0], moved["b"][0]
    assert 0 < a[0] < b[0] < a[2]
    assert float(a[1]) == 0.0 and float(b[1]) == 5.0  # masked: its heuristics multiply them by 0


def test_the_last_neuron_with_a_negative_score_is_positive_too() -> None:
    (moved,) = branching.positive_scores(
        {"a": torch.tensor([[-0.01, 0.0]])}, {"a": torch.tensor([[1.0, 0.0]])}
    ).values()
    assert float(moved[0, 0]) > 0


def test_positive_scores_stay_as_they_are() -> None:
    moved = branching.positive_scores(SCORES, MASKS)
    assert torch.equal(moved["a"][1], SCORES["a"][1]) and torch.equal(moved["b"][1], SCORES["b"][1])


def test_nothing_to_split_changes_nothing() -> None:
    nothing = {name: torch.zeros_like(mask) for name, mask in MASKS.items()}
    moved = branching.positive_scores(SCORES, nothing)
    assert all(torch.equal(moved[name], SCORES[name]) for name in SCORES)


def test_a_masked_neuron_never_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Layer:
        def __init__(self, name: str) -> None:
            self.name = name

    class Net:
        split_nodes = (Layer("a"), Layer("b"))

    heuristic = base.NeuronBranchingHeuristic(Net())
    heuristic.batch_size, heuristic.device = 2, "cpu"
    choose = base.NeuronBranchingHeuristic.find_topk_scores
    monkeypatch.setattr(base.NeuronBranchingHeuristic, "find_topk_scores", getattr(choose, "__wrapped__", choose))
    layers, neurons = heuristic.find_topk_scores(SCORES, MASKS, 1)
    assert (layers[0].item(), neurons[0].item()) == (0, 1)  # as it is: the masked neuron's 0 is the largest
    branching.split_unstable_only()
    branching.split_unstable_only()
    layers, neurons = heuristic.find_topk_scores(SCORES, MASKS, 1)
    assert [(layers[k].item(), neurons[k].item()) for k in range(2)] == [(0, 2), (1, 0)]
