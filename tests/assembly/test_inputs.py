"""From a configuration to what a stage works on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abcrown_graft.assembly import inputs
from abcrown_graft.assembly.baseline import baseline_config, grafted_config
from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config
from abcrown_graft.data import ImageData
from abcrown_graft.errors import ConfigError, DataError, ModelError, UnsupportedError
from abcrown_graft.models.checkpoint import save_checkpoint
from abcrown_graft.models.definitions import model_definition
from abcrown_graft.nn.surgery import graft


def configured(**changed: object) -> Config:
    """Defaults with changes, as `section__key=value`."""
    return load_config(None).replace({key.replace("__", "."): value for key, value in changed.items()}, "the test")


def written(folder: Path, text: str) -> Config:
    (folder / "a.yaml").write_text(text)
    return load_config(folder / "a.yaml")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, model_definition("digits_cnn").build(), {})
    return path


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, list(range(20))),
        ({"data__start": 17}, [17, 18, 19]),
        ({"data__start": 2, "data__end": 4}, [2, 3]),
        ({"data__end": 99, "data__start": 19}, [19]),
        ({"data__select_instance": [7, 3, 7], "data__start": 5}, [7, 3]),
    ],
)
def test_the_images_to_verify(changed: dict[str, object], expected: list[int]) -> None:
    assert inputs.instance_indices(configured(**changed), 20) == expected


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"data__start": 5, "data__end": 5}, r"data.start 5 \(the test\) and data.end 5 \(the test\) leave no image"),
        ({"data__start": 20}, "data.end 10000 .* leave no image; the split has 20"),
        ({"data__select_instance": [3, 20]}, "data.select_instance: image 20 does not exist; the split has 20"),
        ({"data__start": 20, "data__end": 30}, "data.start 20 .* leave no image; the split has 20"),
    ],
)
def test_an_empty_or_impossible_choice_is_refused(changed: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        inputs.instance_indices(configured(**changed), 20)


def test_a_file_of_image_numbers(tmp_path: Path) -> None:
    (tmp_path / "chosen.txt").write_text("4 2\n9\n4\n")
    config = configured(data__data_idx_file=str(tmp_path / "chosen.txt"), data__end=3)
    assert inputs.instance_indices(config, 20) == [4, 2, 9]
    assert inputs.instance_indices(config.replace({"data.select_instance": [1]}), 20) == [1]


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "no such file"), (b"four", "not a text file"), (b"\xff\xfe", "not a text file"), (b" \n", "names no image"),
     (b"3 99", "image 99 does not exist")],
)  # fmt: skip
def test_a_wrong_file_of_image_numbers_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "chosen.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        inputs.instance_indices(configured(data__data_idx_file=str(path)), 20)
    assert f"data.data_idx_file: {path}" in str(error.value) and told in str(error.value)


def test_epsilon_has_no_default() -> None:
    assert inputs.epsilon(configured(specification__epsilon=0.25)) == 0.25
    with pytest.raises(ConfigError, match="specification.epsilon: not set; give the radius"):
        inputs.epsilon(configured())


@pytest.mark.parametrize("changed", ({"specification__norm": 2.0}, {"specification__type": "box"}))
def test_another_perturbation_than_an_infinity_ball_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match="the test: specification.* is not implemented"):
        inputs.epsilon(configured(specification__epsilon=0.1, **changed))


def test_a_missing_option_is_named_with_the_file(tmp_path: Path) -> None:
    config = written(tmp_path, "general: {device: cpu}")
    with pytest.raises(ConfigError) as error:
        inputs.require(config, "model.name", "name one")
    assert str(error.value) == f"{tmp_path}/a.yaml: model.name: not set; name one"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert inputs.device(configured(general__device="cpu")) == "cpu"
    with pytest.raises(ConfigError, match="default: general.device: cuda is not available here .* --device cpu"):
        inputs.device(configured())


def test_a_device_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert inputs.device(configured()) == "cuda"


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="model.path: not set, so digits_cnn would have random weights"):
        inputs.configured_model(configured(model__name="digits_cnn"))


def test_a_customized_model_may_bring_its_own_weights(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\ndef net():\n    return nn.Sequential(nn.Linear(4, 2))\n")
    text = 'model:\n  name: Customized("net.py", "net")\n  input_shape: [-1, 4]\n'
    assert inputs.configured_model(written(tmp_path, text)).input_shape == (4,)


def test_the_untrained_network_is_plain_whatever_weights_are_configured(weights: Path) -> None:
    changed = {"model__path": str(weights), "graft__checkpoint": "nowhere.safetensors"}
    torch.manual_seed(0)
    model = inputs.untrained_model(configured(model__name="digits_cnn", **changed))
    plain = inputs.configured_model(configured(model__name="digits_cnn", model__path=str(weights)))
    assert model.identity == plain.identity, "the same seed draws the same weights"
    assert sum(model.grafted.values()) == 0


def test_a_grafted_network_is_verified_but_not_grafted_again(tmp_path: Path) -> None:
    path = tmp_path / "grafted.safetensors"
    core = model_definition("digits_cnn").build()
    save_checkpoint(path, graft(core, {"1": torch.arange(1024).reshape(16, 8, 8) % 2 == 0}), {})
    for key in ("model__path", "graft__checkpoint"):
        found = inputs.configured_model(configured(model__name="digits_cnn", **{key: str(path)}))
        assert found.grafted["1"] == 512
    config = configured(model__name="digits_cnn", model__path=str(path))
    with pytest.raises(ModelError, match=rf"^model\.path: {path}: a grafted checkpoint"):
        inputs.configured_model(baseline_config(config))
    assert inputs.configured_model(grafted_config(config.replace({"graft.checkpoint": str(path)}))).grafted["1"] == 512


@pytest.mark.parametrize("shape", ([-1, 1, 8, 8], [1, 1, 8, 8]))
def test_the_batch_in_front_of_the_input_shape_is_left_out(weights: Path, shape: list[int]) -> None:
    config = configured(model__name="digits_cnn", model__path=str(weights), model__input_shape=shape)
    assert inputs.configured_model(config).input_shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("shape", "kind"), [([3, 8, 8], ConfigError), ([-1], ConfigError), ([-1, 1, 9, 9], ModelError)]
)
def test_a_wrong_input_shape_is_refused(weights: Path, shape: list[int], kind: type[Exception]) -> None:
    config = configured(model__name="digits_cnn", model__path=str(weights), model__input_shape=shape)
    with pytest.raises(kind, match="model.input_shape"):
        inputs.configured_model(config)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("train: {checkpoint: t.st}\nmodel: {path: t.st}", "abcrown-graft train --config"),
        ("model: {path: runs/train.safetensors}", "abcrown-graft train --config"),
        ("model: {path: elsewhere.st}", None),
        ("train: {checkpoint: t.st}\nmodel: {path: other.st}", None),
        ("tune: {checkpoint: g.st}\ngraft: {checkpoint: g.st}", "abcrown-graft run"),
        ("graft: {checkpoint: g.st}", None),
    ],
)
def test_a_missing_checkpoint_is_hinted_at_only_if_a_stage_writes_that_file(
    tmp_path: Path, text: str, hint: str | None
) -> None:
    text = (
        text.replace("model: {", "model: {name: digits_cnn, ")
        if "model:" in text
        else f"{text}\nmodel: {{name: digits_cnn}}"
    )
    found = inputs.model_source(written(tmp_path, text)).hint
    assert found is None if hint is None else hint in found and str(tmp_path / "a.yaml") in found


def test_images_come_from_the_split_that_is_asked_for() -> None:
    config = configured(data__dataset="DIGITS")
    assert (inputs.images(config).split, len(inputs.images(config))) == ("test", 500)
    assert inputs.images(config, "train").split == "train"


def images(shape: tuple[int, ...] = (1, 8, 8), labels: tuple[int, ...] = (0, 1), classes: int = 20) -> ImageData:
    return ImageData("MINE", "test", torch.zeros(len(labels), *shape), torch.tensor(labels), classes)


@pytest.fixture
def model(weights: Path) -> inputs.LoadedModel:
    return inputs.configured_model(configured(model__name="digits_cnn", model__path=str(weights)))


def test_images_that_fit_the_model(model: inputs.LoadedModel) -> None:
    inputs.check_fit(images(), model, configured())


@pytest.mark.parametrize(
    ("data", "changed", "kind", "told"),
    [
        (images((1, 28, 28)), {}, DataError, r"MINE has images of shape \(1, 28, 28\), the model takes \(1, 8, 8\)"),
        (images(labels=(3, 12)), {}, DataError, "MINE has label 12, the model 10 outputs"),
        (images(), {"data__num_outputs": 5}, ConfigError, "the test: data.num_outputs: 5, the model has 10 outputs"),
    ],
)
def test_images_that_do_not_fit_the_model(
    model: inputs.LoadedModel, data: ImageData, changed: dict[str, object], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        inputs.check_fit(data, model, configured(**changed))


def test_relative_files_are_looked_up_beside_the_configuration_and_in_the_current_folder(tmp_path: Path) -> None:
    config = written(tmp_path, "general: {root_path: somewhere}")
    assert inputs.folders(config) == (tmp_path, Path("somewhere"), Path.cwd())
    assert inputs.folders(configured()) == (Path.cwd(),)
