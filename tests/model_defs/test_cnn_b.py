"""CNN-B: its padding decides the receptive fields."""

from __future__ import annotations

import torch

from abcrown_graft.model_defs.cnn_b import cnn_b


def test_zeros_are_added_once_left_and_top_and_twice_right_and_bottom():
    padding = cnn_b()[0]
    padded = padding(torch.ones(1, 1, 2, 2))[0, 0]
    assert padded.nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert padded.shape == (5, 5)


def test_relu_sites_are_the_indices_of_the_published_checkpoints():
    sites = [name for name, module in cnn_b().named_modules() if isinstance(module, torch.nn.ReLU)]
    assert sites == ["2", "4", "7"]
