"""`train` and `tune`: provenance, reproducibility, resumption."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from command_line import Listener, miniature, snapshot

from abcrown_graft import __version__
from abcrown_graft.assembly import inputs
from abcrown_graft.assembly.baseline import baseline_config
from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config
from abcrown_graft.errors import ConfigError, FileFormatError, MaskError, ModelError, SettingsDifferError
from abcrown_graft.files import read_safetensors
from abcrown_graft.masks.fitting import fitted_lines
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.pipeline import training
from abcrown_graft.pipeline.training import train_stage, training_part, tune_settings, tune_stage

QUICK = {"train__epochs": 3, "train__limit": 120, "train__validation": 40, "tune__epochs": 2}


def trained(folder: Path, **changed: object) -> dict[str, torch.Tensor]:
    """The weights that the training stage writes."""
    return read_safetensors(train_stage(miniature(folder, **{**QUICK, **changed}), Listener()))[0]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with a finished training, and what the stage told."""
    folder, listener = tmp_path_factory.mktemp("baseline"), Listener()
    train_stage(miniature(folder, **QUICK), listener)
    return folder, listener.lines


def random_mask(config: Config, seed: int = 0) -> GraftMask:
    """Half of the plain network's neurons."""
    identity = inputs.configured_model(baseline_config(config)).identity
    generator = torch.Generator().manual_seed(seed)
    masks = {site: torch.rand(shape, generator=generator) < 0.5 for site, shape in identity.sites.items()}
    return GraftMask(masks, identity, {"made_by": "the test"})


@pytest.fixture
def masked(tmp_path: Path, baseline: tuple[Path, list[str]]) -> Path:
    """A folder with trained weights and a mask for them."""
    (tmp_path / "out").mkdir()
    weights = (baseline[0] / "out" / "train.safetensors").read_bytes()
    (tmp_path / "out" / "train.safetensors").write_bytes(weights)
    random_mask(miniature(tmp_path)).save(tmp_path / "out" / "mask.safetensors")
    return tmp_path


def test_the_checkpoint_says_how_it_was_made(baseline: tuple[Path, list[str]]) -> None:
    folder = baseline[0]
    config = miniature(folder, **QUICK)
    _, header = read_safetensors(folder / "out" / "train.safetensors")
    assert (header["kind"], header["stage"], header["model_name"], header["seed"]) == (
        "checkpoint",
        "train",
        "digits_cnn",
        3,
    )
    assert header["versions"]["abcrown_graft"] == __version__
    assert header["versions"]["torch"] == torch.__version__
    assert header["versions"]["python"] == sys.version.split()[0]
    data = training_part(config, inputs.images(config, "train"))
    about = {"dataset": "DIGITS", "split": "train", "images": 120, "fingerprint": data.fingerprint}
    assert header["data"] == about
    assert 1 <= header["best_epoch"] <= 3
    (folder / "from_header.yaml").write_text(header["config"])
    assert load_config(folder / "from_header.yaml") == config


def test_log_and_configuration_lie_beside_the_checkpoint(baseline: tuple[Path, list[str]]) -> None:
    folder = baseline[0] / "out"
    names = {"train.safetensors", "train.log.jsonl", "train.config.yaml"}
    assert {path.name for path in folder.iterdir()} == names, "the resume file is gone"
    records = [json.loads(line) for line in (folder / "train.log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert load_config(folder / "train.config.yaml")["train.epochs"] == 3


def test_every_epoch_is_told(baseline: tuple[Path, list[str]]) -> None:
    assert [line.split(":")[0] for line in baseline[1]] == [f"train epoch {epoch}/3" for epoch in (1, 2, 3)]
    assert "validation clean" in baseline[1][0] and "one-step robust" in baseline[1][0]


def test_one_seed_gives_the_same_file_and_another_seed_another(
    tmp_path: Path, baseline: tuple[Path, list[str]]
) -> None:
    first = read_safetensors(baseline[0] / "out" / "train.safetensors")[0]
    torch.manual_seed(99)  # what was drawn before must not matter
    assert equal(trained(tmp_path), first)
    (tmp_path / "other").mkdir()
    assert not equal(trained(tmp_path / "other", general__seed=4), first)


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Stops training as on Ctrl-C while the given epoch is logged; 0 stops doing that."""
    append_record = training.append_record

    def at(epoch: int) -> None:
        def interrupted(path: Path, record: dict[str, object]) -> None:
            if record["epoch"] == epoch:
                raise KeyboardInterrupt
            append_record(path, record)

        monkeypatch.setattr(training, "append_record", interrupted)

    return at


@pytest.mark.parametrize("epoch", (1, 2, 3))
def test_an_interrupted_training_goes_on_to_the_same_weights(
    tmp_path: Path, baseline: tuple[Path, list[str]], interrupt: Callable[[int], None], epoch: int
) -> None:
    interrupt(epoch)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path)
    assert (tmp_path / "out" / "train.resume").exists() and not (tmp_path / "out" / "train.safetensors").exists()
    interrupt(0)
    assert equal(trained(tmp_path), read_safetensors(baseline[0] / "out" / "train.safetensors")[0])
    log = (tmp_path / "out" / "train.log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 2, 3]
    assert not (tmp_path / "out" / "train.resume").exists()


def test_other_settings_do_not_go_on_with_an_interrupted_training(
    tmp_path: Path, interrupt: Callable[[int], None]
) -> None:
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path)
    before = snapshot(tmp_path / "out")
    with pytest.raises(SettingsDifferError, match=r"train\.resume: made with train\.lr = 0\.1, this run has 0\.05"):
        trained(tmp_path, train__lr=0.05)
    assert snapshot(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("changed", "named"),
    (({"data__mean": 0.5}, r"data\.mean = 0\.0, this run has 0\.5"), ({"data__std": 0.5}, r"data\.std = 1\.0")),
)
def test_an_interrupted_training_does_not_go_on_with_other_pixels(
    tmp_path: Path, interrupt: Callable[[int], None], changed: dict[str, object], named: str
) -> None:
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path)
    with pytest.raises(SettingsDifferError, match=rf"train\.resume: made with {named}"):
        trained(tmp_path, **changed)


def test_an_earlier_checkpoint_is_kept(tmp_path: Path, baseline: tuple[Path, list[str]]) -> None:
    earlier = (baseline[0] / "out" / "train.safetensors").read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.safetensors").write_bytes(earlier)
    listener = Listener()
    train_stage(miniature(tmp_path, **{**QUICK, "general__seed": 4}), listener)
    assert (tmp_path / "out" / "train.1.safetensors").read_bytes() == earlier
    assert f"earlier files kept as {tmp_path}/out/train.1.safetensors" in listener.lines


def test_a_resumed_training_keeps_its_own_log_and_an_earlier_checkpoint(
    tmp_path: Path, interrupt: Callable[[int], None]
) -> None:
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path)
    interrupt(0)
    (tmp_path / "out" / "train.safetensors").write_bytes(b"earlier")
    trained(tmp_path)
    assert (tmp_path / "out" / "train.1.safetensors").read_bytes() == b"earlier"
    lines = (tmp_path / "out" / "train.log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"train__limit": 1298}, "train.limit: 1298, the split has 1297 images"),
        ({"train__limit": 40}, "train.validation: 40 images leave none of 40 to learn from"),
        ({"train__epochs": 0}, "train.epochs: expected an integer, at least 1, got 0"),
        ({"model__name": None}, "model.name: not set"),
        ({"specification__epsilon": None}, "specification.epsilon: not set"),
    ],
)
def test_a_wrong_setting_writes_nothing(tmp_path: Path, changed: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        trained(tmp_path, **changed)
    assert not (tmp_path / "out").exists()


def test_a_model_of_ones_own_is_trained_with_the_input_shape_of_the_configuration(tmp_path: Path) -> None:
    code = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    (tmp_path / "net.py").write_text(code)
    own = {"model__name": 'Customized("net.py", "net")'}
    with pytest.raises(ModelError, match="model.input_shape: not set"):
        trained(tmp_path, **own)
    state = trained(tmp_path, **own, model__input_shape=[-1, 1, 8, 8])
    assert sorted(state) == ["1.bias", "1.weight"]


def test_milestones_past_the_end_have_no_effect(tmp_path: Path) -> None:
    for name in ("few", "more"):
        (tmp_path / name).mkdir()
    few = trained(tmp_path / "few", train__epochs=2, train__milestones=[1])
    more = trained(tmp_path / "more", train__epochs=2, train__milestones=[1, 2, 150])
    assert all(torch.equal(few[name], more[name]) for name in few)


def test_the_settings_of_tuning_are_its_own_and_those_of_the_data_are_trainings(tmp_path: Path) -> None:
    config = miniature(tmp_path, train__attack_step=0.5, tune__lr=0.125, tune__slope_lr=0.25, tune__momentum=0.5)
    settings = tune_settings(config)
    assert (settings.lr, settings.slope_lr, settings.momentum, settings.attack_step) == (0.125, 0.25, 0.5, 0.5)
    assert (settings.validation, settings.epsilon, settings.seed) == (60, 0.05, 3)


def test_tuning_grafts_by_the_mask_and_says_so(masked: Path) -> None:
    config = miniature(masked, **QUICK)
    tensors, header = read_safetensors(tune_stage(config, Listener()))
    mask = random_mask(config)
    for site, expected in mask.masks.items():
        assert torch.equal(tensors[f"{site}.mask"], expected)
    assert (header["stage"], header["grafted"], header["mask"]) == ("tune", mask.count, {"made_by": "the test"})
    assert header["plain"]["weights"] == mask.model.weights


def test_tuning_learns_weights_and_slopes(masked: Path) -> None:
    plain = read_safetensors(masked / "out" / "train.safetensors")[0]
    tuned = read_safetensors(tune_stage(miniature(masked, **QUICK), Listener()))[0]
    assert any(not torch.equal(tuned[name], plain[name]) for name in plain)
    slopes = [tensor for name, tensor in tuned.items() if name.endswith(".slope")]
    assert len(slopes) == 3 and any(bool((slope != 0.4).any()) for slope in slopes)


def test_frozen_weights_stay_as_they_were(masked: Path) -> None:
    plain = read_safetensors(masked / "out" / "train.safetensors")[0]
    tuned = read_safetensors(tune_stage(miniature(masked, **QUICK, tune__freeze_weights=True), Listener()))[0]
    assert all(torch.equal(tuned[name], plain[name]) for name in plain)
    assert any(bool((tensor != 0.4).any()) for name, tensor in tuned.items() if name.endswith(".slope"))


def test_fitted_lines_are_where_slopes_and_intercepts_start(masked: Path) -> None:
    config = miniature(masked, **QUICK, tune__fit_lines=True, significance__samples=50, tune__slope_lr=1e-9)
    tensors, _ = read_safetensors(tune_stage(config, Listener()))
    images = inputs.images(config, "train").images[:50]
    slopes, intercepts = fitted_lines(inputs.configured_model(baseline_config(config)).exact, images.double())
    for site, mask in random_mask(config).masks.items():
        for name, lines in (("slope", slopes), ("intercept", intercepts)):
            found, expected = tensors[f"{site}.{name}"][mask], lines[site][mask].float()
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_tuning_of_lines_fitted_to_other_images_does_not_go_on(masked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    fitted = {"tune__epochs": 2, "tune__fit_lines": True}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("abcrown_graft.pipeline.training.append_record", stop)
        tune_stage(miniature(masked, **fitted, significance__samples=50), Listener())
    with pytest.raises(SettingsDifferError, match=r"made with significance\.samples = 50, this run has 40"):
        tune_stage(miniature(masked, **fitted, significance__samples=40), Listener())


def test_pruned_neurons_have_no_fitted_lines(tmp_path: Path) -> None:
    config = miniature(tmp_path, tune__fit_lines=True, tune__prune=True)
    with pytest.raises(ConfigError, match=r"tune\.fit_lines: pruned neurons have no lines"):
        tune_settings(config)


def test_an_interrupted_tuning_goes_on_to_the_same_network(masked: Path, interrupt: Callable[[int], None]) -> None:
    config = miniature(masked, **QUICK)
    whole = read_safetensors(tune_stage(config, Listener()))[0]
    (masked / "out" / "tune.safetensors").unlink()
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        tune_stage(config, Listener())
    interrupt(0)
    assert equal(read_safetensors(tune_stage(config, Listener()))[0], whole)


def test_a_mask_of_other_weights_is_used_and_told(masked: Path) -> None:
    mask = random_mask(miniature(masked))
    other = GraftMask(mask.masks, type(mask.model)(mask.model.architecture, "other", mask.model.sites))
    other.save(masked / "out" / "mask.safetensors")
    listener = Listener()
    tune_stage(miniature(masked, **{**QUICK, "tune__epochs": 1}), listener)
    assert listener.lines[0] == "note: the mask was made for other weights of this architecture"


def another_model(folder: Path) -> None:
    mask = random_mask(miniature(folder))
    other = type(mask.model)("another", mask.model.weights, mask.model.sites)
    GraftMask(mask.masks, other).save(folder / "out" / "mask.safetensors")


def cut(folder: Path) -> None:
    path = folder / "out" / "mask.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    ("damage", "kind", "told"),
    [
        (another_model, MaskError, "the mask is of another model"),
        (cut, FileFormatError, "not a complete safetensors file"),
        (lambda folder: (folder / "out" / "mask.safetensors").unlink(), FileFormatError, "no such file"),
        (
            lambda folder: (folder / "out" / "train.safetensors").unlink(),
            ModelError,
            "make it with: abcrown-graft train",
        ),
    ],
)
def test_tuning_with_a_wrong_file_names_it_and_writes_nothing(
    masked: Path, damage: Callable[[Path], None], kind: type[Exception], told: str
) -> None:
    damage(masked)
    before = snapshot(masked / "out")
    with pytest.raises(kind, match=told):
        tune_stage(miniature(masked, **QUICK), Listener())
    assert snapshot(masked / "out") == before
