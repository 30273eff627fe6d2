"""Mistakes of every stage are found before the first one writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Listener, miniature, snapshot

from abcrown_graft.assembly import inputs
from abcrown_graft.errors import AbcrownGraftError
from abcrown_graft.models.weights import package_folder
from abcrown_graft.pipeline.preflight import preflight
from abcrown_graft.pipeline.run import run_pipeline

WEIGHTS = package_folder() / "model_defs" / "weights"

WRONG = [
    ({"model__name": None}, "model.name: not set"),
    ({"model__name": "digits_cn"}, "did you mean 'digits_cnn'"),
    ({"model__path": "nowhere.safetensors"}, r"nowhere\.safetensors: no such file"),
    ({"model__input_shape": [-1, 1, 9, 9]}, "model.input_shape"),
    ({"data__dataset": None}, "data.dataset: not set"),
    ({"data__dataset": "MNIST"}, "t10k-images-idx3-ubyte|train-images-idx3-ubyte"),
    ({"data__num_outputs": 4}, "data.num_outputs: 4, the model has 10 outputs"),
    ({"data__std": [0.5, 0.5]}, "data.std"),
    ({"data__start": 12}, "leave no image"),
    ({"specification__epsilon": None}, "specification.epsilon: not set"),
    ({"specification__norm": 2.0}, "specification.norm"),
    ({"bab__branching__method": "fsb"}, "bab.branching.method"),
    ({"general__engine": "abcrown"}, "general.engine: abcrown is not available"),
    ({"instability__start": 20}, "instability.start"),
    ({"significance__samples": 1298}, "significance.samples"),
    ({"mask__sweep": [0.3, 0.5]}, r"mask\.sweep: only the command mask makes several masks"),
    ({"train__method": "ibp", "train__epsilon_length": 5.0}, "train.epsilon_length: 5.0: .* into the 4 epochs"),
    ({"train__limit": 1298}, "train.limit"),
    ({"train__validation": 400}, "train.validation"),
    ({"tune__prune": True, "tune__freeze_weights": True}, "flag --tune_prune: tune.prune: true: leaves nothing"),
    ({"evaluate__limit": 501}, "evaluate.limit"),
    ({"graft__checkpoint": "mine.st"}, "graft.checkpoint: mine.st is not the file that the pipeline writes"),
    ({"report__path": "mine.docx"}, "report.path: mine.docx: unknown kind of report"),
    ({"mask__sweep": [0.3, 0.5]}, "mask.sweep"),
    ({"mask__layer_cap": 0.1}, "layer cap 0.1 leaves"),
    ({"train__checkpoint": "out/net.pt"}, r"train\.checkpoint: .*net\.pt: the file is written in safetensors format"),
    ({"tune__checkpoint": "out/net.st"}, r"tune\.checkpoint: .*net\.st: .*; name it net\.safetensors"),
    ({"significance__path": "scores.pth"}, r"significance\.path: .*; name it scores\.safetensors"),
    ({"mask__path": "mask.pt"}, r"mask\.path: .*; name it mask\.safetensors"),
    ({"instability__dump": "counts.pt"}, r"instability\.dump: .*; name it counts\.safetensors"),
    ({"graft__mask": "mine.st"}, "graft.mask: mine.st is not the file that the pipeline writes"),
]


@pytest.mark.parametrize(
    ("changed", "told"), WRONG, ids=lambda value: next(iter(value)) if isinstance(value, dict) else ""
)
def test_a_mistake_is_found_before_anything_is_written(tmp_path: Path, changed: dict[str, object], told: str) -> None:
    config = miniature(tmp_path, **changed)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.safetensors").write_text("an earlier result")
    before = snapshot(tmp_path)
    with pytest.raises(AbcrownGraftError, match=told):
        run_pipeline(config, Listener())
    assert snapshot(tmp_path) == before


def test_a_sound_configuration_gives_what_all_stages_depend_on(tmp_path: Path) -> None:
    config = miniature(tmp_path)
    found = preflight(config)
    assert found.data == {split: inputs.images(config, split).fingerprint for split in ("train", "test")}
    assert found.architecture == inputs.untrained_model(config).identity.architecture
    assert not (tmp_path / "out").exists()


def test_the_settings_of_training_do_not_matter_where_nothing_is_trained(tmp_path: Path) -> None:
    trained = {"model__path": str(WEIGHTS / "digits_baseline.safetensors")}
    unused = preflight(miniature(tmp_path, **trained, train__milestones=[3, 2]))
    assert unused == preflight(miniature(tmp_path, **trained))


def test_the_settings_of_grafting_do_not_matter_where_nothing_is_grafted(tmp_path: Path) -> None:
    wrong = {
        "tune__prune": True,
        "tune__freeze_weights": True,
        "significance__samples": 1298,
        "mask__sweep": [0.3],
        "graft__checkpoint": "mine.st",
    }
    both = miniature(tmp_path)
    assert preflight(miniature(tmp_path, pipeline__networks="baseline", **wrong)) == preflight(both)


def test_the_files_that_the_pipeline_writes_may_be_named_for_verification(tmp_path: Path) -> None:
    files = {"model__path": "out/train.safetensors", "graft__checkpoint": "out/tune.safetensors"}
    own = {key: str(tmp_path / value) for key, value in files.items()}
    named = miniature(tmp_path, **own, graft__mask=str(tmp_path / "out" / "mask.safetensors"))
    assert preflight(named) == preflight(miniature(tmp_path))


def test_the_same_architecture_by_another_file_is_another_input(tmp_path: Path) -> None:
    layers = "nn.Flatten(), nn.Linear(64, {}), nn.ReLU(), nn.Linear({}, 10)"
    code = f"from torch import nn\ndef net():\n    return nn.Sequential({layers})\n"
    config = miniature(tmp_path, model__name='Customized("net.py", "net")', model__input_shape=[-1, 1, 8, 8])
    found = []
    for width in (5, 6):
        (tmp_path / "net.py").write_text(code.format(width, width))
        found.append(preflight(config).architecture)
    assert found[0] != found[1]
