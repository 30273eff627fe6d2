"""Instability, significance, and the mask made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from command_line import Listener, miniature, snapshot
from torch.nn import functional

from abcrown_graft.assembly import inputs
from abcrown_graft.config.config import Config
from abcrown_graft.engines.native.engine import prepare_native
from abcrown_graft.errors import (
    AbcrownGraftError,
    ConfigError,
    DataError,
    FileFormatError,
    MaskError,
    SettingsDifferError,
    UnsupportedError,
)
from abcrown_graft.masks import dump as dumps
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.masks.legacy import legacy_mask
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.masks.scores import SiteScores
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.models.weights import package_folder
from abcrown_graft.pipeline import scoring
from abcrown_graft.pipeline.scoring import instability_stage, mask_stage, significance_stage, sweep_stage

WEIGHTS = package_folder() / "model_defs" / "weights"
PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "grafting" / "convbig_cifar"
SITES = {"1": (16, 8, 8), "3": (32, 4, 4), "6": (100,)}


def configured(folder: Path, **changed: object) -> Config:
    """The committed plain digits network at its radius; files under `folder/out`."""
    own = {"model__path": str(WEIGHTS / "digits_baseline.safetensors"), "specification__epsilon": 0.1}
    return miniature(folder, **{**own, **changed})


def same_counts(a: dumps.InstabilityDump, b: dumps.InstabilityDump) -> bool:
    return torch.equal(a.indices, b.indices) and all(
        torch.equal(a.counts[site], b.counts[site])
        and torch.equal(a.unstable_per_image[site], b.unstable_per_image[site])
        for site in a.counts
    )


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dump of the first twenty training images."""
    return instability_stage(configured(tmp_path_factory.mktemp("counted")), Listener())


def test_the_dump_counts_the_correctly_classified_images_of_the_range(counted: Path, tmp_path: Path) -> None:
    dump = dumps.load(counted)
    config = configured(tmp_path)
    data, model = inputs.images(config, "train"), inputs.configured_model(config)
    with torch.no_grad():
        right = model.module(data.images[:20]).argmax(1) == data.labels[:20]
    assert dump.indices.tolist() == right.nonzero().flatten().tolist()
    assert dict(dump.model.sites) == SITES
    assert {
        "split": "train",
        "epsilon": 0.1,
        "method": "crown",
        "population": "correct",
    }.items() <= dump.settings.items()
    assert 0 < dump.unr() < 1


def test_no_image_is_attacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def attacked(*args: object) -> None:
        raise AssertionError("an attack was run")

    monkeypatch.setattr("abcrown_graft.verify.stages.pgd_attack", attacked)
    instability_stage(configured(tmp_path, instability__end=4), Listener())


@pytest.mark.parametrize("population", ("correct", "all"))
@pytest.mark.parametrize("method", ("interval", "crown"))
def test_counting_alone_and_during_verification_agree(tmp_path: Path, population: str, method: str) -> None:
    chosen = {"instability__population": population, "instability__method": method}
    alone = configured(tmp_path, instability__split="test", instability__end=9, solver__batch_size=4, **chosen)
    dump = dumps.load(instability_stage(alone, Listener()))
    files = {"instability__dump": str(tmp_path / "during.st"), "general__results_file": str(tmp_path / "out.txt")}
    during = prepare_native(configured(tmp_path, data__end=9, solver__batch_size=5, **chosen, **files))
    list(during.run())
    assert same_counts(dumps.load(tmp_path / "during.st"), dump)
    assert dumps.load(tmp_path / "during.st").settings == dump.settings


ALPHA = {"instability__method": "alpha-crown", "solver__alpha-crown__iteration": 2, "solver__batch_size": 200}


def test_so_they_do_with_optimised_bounds(tmp_path: Path) -> None:
    alone = configured(tmp_path, instability__split="test", instability__end=3, **ALPHA)
    dump = dumps.load(instability_stage(alone, Listener()))
    files = {"instability__dump": str(tmp_path / "during.st"), "general__results_file": str(tmp_path / "out.txt")}
    list(prepare_native(configured(tmp_path, data__end=3, **ALPHA, **files)).run())
    assert same_counts(dumps.load(tmp_path / "during.st"), dump)
    assert dumps.load(tmp_path / "during.st").settings == dump.settings


def test_branch_and_bounds_population_is_what_the_bounds_leave_open(tmp_path: Path) -> None:
    chosen = {
        "instability__population": "bab",
        "attack__pgd_order": "skip",
        "solver__bound_prop_method": "crown",
        "general__complete_verifier": "skip",
    }
    config = configured(tmp_path, instability__split="test", instability__end=12, **chosen)
    dump = dumps.load(instability_stage(config, Listener()))
    run = prepare_native(configured(tmp_path, general__results_file=str(tmp_path / "out.txt"), **chosen))
    assert dump.indices.tolist() == [result.index for result in run.run() if result.status == "unknown"]
    assert dump.n


def test_methods_are_ever_tighter_and_the_dump_names_its_own(tmp_path: Path) -> None:
    found = {}
    for method in ("interval", "crown", "alpha-crown"):
        chosen = {"instability__method": method, "instability__dump": str(tmp_path / f"{method}.st")}
        config = configured(tmp_path, instability__end=3, **{**ALPHA, **chosen})
        found[method] = dumps.load(instability_stage(config, Listener()))
    assert found["interval"].unr() > found["crown"].unr() > found["alpha-crown"].unr() > 0
    assert found["alpha-crown"].settings["method_settings"] == {"iterations": 2, "lr_alpha": 0.1, "lr_decay": 0.98}
    assert "method_settings" not in found["crown"].settings


@pytest.mark.parametrize("method", ("crown", "alpha-crown"))
def test_what_the_attack_or_optimised_bounds_decide_does_not_reach_branch_and_bound(
    tmp_path: Path, method: str
) -> None:
    chosen = {
        "instability__population": "bab",
        "instability__method": method,
        "solver__bound_prop_method": "alpha-crown",
        "solver__alpha-crown__iteration": 2,
        "solver__batch_size": 200,
        "general__complete_verifier": "skip",
    }
    config = configured(tmp_path, instability__split="test", instability__end=10, data__end=10, **chosen)
    dump = dumps.load(instability_stage(config, Listener()))
    run = prepare_native(configured(tmp_path, data__end=10, **chosen, general__results_file=str(tmp_path / "o")))
    results = list(run.run())
    assert dump.indices.tolist() == [result.index for result in results if result.status == "unknown"]
    assert {result.status for result in results} >= {"unknown", "safe-incomplete"}


def test_the_dumps_of_two_ranges_merge_to_the_dump_of_both(tmp_path: Path, counted: Path) -> None:
    parts = []
    for start, end in ((0, 7), (7, 20)):
        path = str(tmp_path / f"{start}.st")
        config = configured(tmp_path, instability__start=start, instability__end=end, instability__dump=path)
        parts.append(dumps.load(instability_stage(config, Listener())))
    assert same_counts(dumps.merge(*parts), dumps.load(counted))


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    verify_cases = scoring.verify_cases

    def after(count: int) -> None:
        def interrupted(*args: object, **kwargs: object) -> Iterator[object]:
            for done, result in enumerate(verify_cases(*args, **kwargs)):
                if done == count:
                    raise KeyboardInterrupt
                yield result

        monkeypatch.setattr(scoring, "verify_cases", interrupted if count else verify_cases)

    return after


@pytest.mark.parametrize("count", (6, 8))
def test_an_interrupted_dump_goes_on(
    tmp_path: Path, counted: Path, interrupt: Callable[[int], None], count: int
) -> None:
    config = configured(tmp_path)
    interrupt(count)
    with pytest.raises(KeyboardInterrupt):
        instability_stage(config, Listener())
    interrupt(0)
    listener = Listener()
    path = instability_stage(config, listener)
    assert same_counts(dumps.load(path), dumps.load(counted))
    assert listener.lines[0].startswith("instability: going on with ") and listener.steps < 20


def test_a_finished_dump_is_left_as_it_is(tmp_path: Path, counted: Path) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "instability.safetensors"
    path.write_bytes(counted.read_bytes())
    time = path.stat().st_mtime_ns
    listener = Listener()
    instability_stage(configured(tmp_path), listener)
    assert path.stat().st_mtime_ns == time
    assert listener.steps <= 1, "only images outside the population are looked at again"


def test_a_dump_without_any_image_of_the_population_is_written_too(tmp_path: Path) -> None:
    config = configured(tmp_path, instability__population="bab", instability__end=2, specification__epsilon=0.0)
    dump = dumps.load(instability_stage(config, Listener()))
    assert dump.n == 0


def test_the_grafted_network_is_counted_on_request(tmp_path: Path) -> None:
    config = configured(tmp_path, graft__checkpoint=str(WEIGHTS / "digits_graft.safetensors"), instability__end=5)
    assert dumps.load(instability_stage(config, Listener())).grafted_fraction == 0
    other = config.replace({"instability.dump": str(tmp_path / "grafted.st")})
    assert dumps.load(instability_stage(other, Listener(), grafted=True)).grafted_fraction == 0.5


def test_a_relative_root_path_is_used_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = configured(tmp_path, instability__end=2).replace({"general.root_path": "root", "pipeline.output": "mine"})
    instability_stage(config, Listener())
    assert (tmp_path / "root" / "mine" / "instability.safetensors").is_file()


@pytest.mark.parametrize(
    ("changed", "kind", "told"),
    [
        ({"instability__start": 20}, ConfigError, "instability.start 20 .* and instability.end 20 .* leave no image"),
        ({"instability__start": 2000, "instability__end": None}, ConfigError, "leave no image; the split has 1297"),
        ({"specification__norm": 2.0}, UnsupportedError, "specification.norm = 2.0 is not implemented"),
        ({"specification__epsilon": None}, ConfigError, "specification.epsilon: not set"),
        ({"data__num_outputs": 9}, ConfigError, "data.num_outputs: 9, the model has 10"),
    ],
)
def test_a_wrong_setting_counts_nothing(
    tmp_path: Path, changed: dict[str, object], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        instability_stage(configured(tmp_path, **changed), Listener())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"specification__epsilon": 0.2}, r"made with epsilon = 0\.1, this run has 0\.2"),
        ({"specification__robustness_type": "clean-acc"}, r"made with epsilon = 0\.1, this run has 0\.0"),
        ({"instability__start": 2}, r"instability\.safetensors: counts image 0 and 1 others that inst"),
    ],
)
def test_a_dump_of_other_settings_or_images_is_refused_and_stays(
    tmp_path: Path, counted: Path, changed: dict[str, object], told: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "instability.safetensors").write_bytes(counted.read_bytes())
    before = snapshot(tmp_path / "out")
    with pytest.raises(SettingsDifferError, match=told):
        instability_stage(configured(tmp_path, **changed), Listener())
    assert snapshot(tmp_path / "out") == before


def test_a_dump_of_what_another_attack_left_open_is_refused(tmp_path: Path) -> None:
    few = {"instability__population": "bab", "instability__end": 2}
    path = instability_stage(configured(tmp_path, **few), Listener())
    before = path.read_bytes()
    with pytest.raises(SettingsDifferError, match=r"made with attack\.pgd_steps = \d+, this run has 3"):
        instability_stage(configured(tmp_path, **few, attack__pgd_steps=3), Listener())
    assert path.read_bytes() == before
    assert instability_stage(configured(tmp_path, **few), Listener()).read_bytes() == before


def test_an_image_that_fails_stops_the_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("abcrown_graft.verify.problem.bound_network", broken)
    with pytest.raises(AbcrownGraftError, match="instability: image 0: RuntimeError: a defect"):
        instability_stage(configured(tmp_path), Listener())


def by_hand(model: LoadedModel, images: torch.Tensor, labels: torch.Tensor, method: str) -> torch.Tensor:
    """The score of the last hidden layer, one image at a time."""
    *body, last = model.module[1]
    values, slopes = [], []
    for image, label in zip(images, labels, strict=True):
        z = image.unsqueeze(0)
        for layer in body[:-1]:
            z = layer(z)
        z = z.detach().requires_grad_(True)
        functional.cross_entropy(last(torch.relu(z)), label.unsqueeze(0)).backward()
        values.append(z.detach()[0].double())
        slopes.append(z.grad[0].double())
    z = torch.stack(values)
    return {
        "gradient": torch.stack(slopes).abs().mean(0),
        "magnitude": z.abs().mean(0),
        "variance": z.var(0, unbiased=False),
    }[method]


@pytest.mark.parametrize("method", ("gradient", "magnitude", "variance"))
def test_significance_is_the_statistic_of_the_first_training_images(tmp_path: Path, method: str) -> None:
    config = configured(tmp_path, significance__method=method, significance__samples=12, significance__batch_size=5)
    scores = SiteScores.load(significance_stage(config, Listener()))
    data, model = inputs.images(config, "train"), inputs.configured_model(config)
    expected = by_hand(model, data.images[:12], data.labels[:12], method)
    torch.testing.assert_close(scores.values["6"], expected, rtol=1e-4, atol=1e-7)
    assert scores.model == model.identity
    assert scores.provenance == {
        "method": method,
        "samples": 12,
        "dataset": "DIGITS",
        "data": scores.provenance["data"],
    }


def test_interval_scores_are_of_the_configured_radius(tmp_path: Path) -> None:
    scores = {}
    for epsilon in (0.05, 0.1):
        chosen = {"significance__method": "interval", "significance__samples": 4, "specification__epsilon": epsilon}
        scores[epsilon] = SiteScores.load(significance_stage(configured(tmp_path, **chosen), Listener()))
        assert scores[epsilon].provenance["epsilon"] == epsilon
    assert all((scores[0.1].values[site] <= scores[0.05].values[site]).all() for site in SITES)
    with pytest.raises(ConfigError, match=r"specification\.epsilon: not set"):
        significance_stage(
            configured(tmp_path, significance__method="interval", specification__epsilon=None), Listener()
        )


LEARNED = {"significance__method": "learned", "significance__samples": 60, "significance__epochs": 3}


def test_learned_scores_say_how_they_were_learned(tmp_path: Path) -> None:
    listener = Listener()
    scores = SiteScores.load(significance_stage(configured(tmp_path, **LEARNED), listener))
    assert {site: tuple(score.shape) for site, score in scores.values.items()} == SITES
    settings = {"init": "gradient", "epochs": 3, "lr": 0.1, "ratio": 0.5, "scope": "layer", "seed": 3, "epsilon": 0.1}
    assert {"method": "learned", **settings, "slope": 0.4, "intercept": 0.0}.items() <= scores.provenance.items()
    assert [line.split(":")[0] for line in listener.lines[:3]] == [f"significance epoch {k}/3" for k in (1, 2, 3)]
    assert listener.steps == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"significance__init": "interval"},
        {"significance__lr": 0.5},
        {"significance__gradalign": 0.0},
        {"significance__ratio": 0.2},
        {"significance__scope": "global"},
        {"significance__replacement": "zero"},
        {"significance__batch_size": 30},
        {"train__attack_step": 0.5},
        {"tune__slope": 0.8},
        {"general__seed": 4},
    ],
)
def test_every_option_of_learned_scores_matters(tmp_path: Path, changed: dict[str, object]) -> None:
    few = {**LEARNED, "significance__samples": 40, "significance__epochs": 1, "significance__batch_size": 20}
    usual = SiteScores.load(significance_stage(configured(tmp_path, **few), Listener()))
    other = SiteScores.load(significance_stage(configured(tmp_path, **{**few, **changed}), Listener()))
    assert any(not torch.equal(usual.values[site], other.values[site]) for site in SITES)


def test_more_samples_than_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"significance\.samples: 1298, the training split has 1297 images"):
        significance_stage(configured(tmp_path, significance__samples=1298), Listener())
    assert not (tmp_path / "out").exists()


MODEL = ModelIdentity("a", "w", {"1": (3,), "3": (2,)})


def write_scores(folder: Path, significance: list[list[float]] | None = None, model: ModelIdentity = MODEL) -> None:
    """r_u is 1, 1/2, 0 and 1, 0; r_s is given."""
    (folder / "out").mkdir(exist_ok=True)
    unstable = {"1": torch.tensor([[1, 1, 0], [1, 0, 0]]).bool(), "3": torch.tensor([[1, 0], [1, 0]]).bool()}
    dump = dumps.add(dumps.empty(MODEL, {}, {"epsilon": 0.1}), [0, 1], unstable)
    dump.save(folder / "out" / "instability.safetensors")
    if significance is not None:
        values = {site: torch.tensor(row) for site, row in zip(model.sites, significance, strict=True)}
        SiteScores("significance", values, model, {"method": "gradient"}).save(
            folder / "out" / "significance_gradient.safetensors"
        )


def grafted(path: Path) -> dict[str, list[int]]:
    return {site: mask.int().tolist() for site, mask in GraftMask.load(path).masks.items()}


def test_a_mask_by_hand(tmp_path: Path) -> None:
    # r_u - r_s: 1 - 1 = 0, 1/2 - 0, 0 - 0.25; 1 - 0.5, 0 - 1. The two of 0.5 are the largest.
    write_scores(tmp_path, [[1.0, 0.0, 0.25], [0.5, 1.0]])
    listener = Listener()
    config = miniature(tmp_path, mask__preset="fixed", mask__gamma=1.0, mask__ratio=0.4)
    assert grafted(mask_stage(config, listener)) == {"1": [0, 1, 0], "3": [1, 0]}
    assert listener.lines == [
        "site 1: 1 of 3 neurons grafted",
        "site 3: 1 of 2 neurons grafted",
        "mask (fixed): 2 of 5 neurons grafted",
    ]


def test_the_mask_says_how_it_was_made(tmp_path: Path) -> None:
    write_scores(tmp_path, [[1.0, 0.0, 0.25], [0.5, 1.0]])
    mask = GraftMask.load(mask_stage(miniature(tmp_path, mask__ratio=0.4), Listener()))
    assert mask.model == MODEL
    options = {"preset": "paper", "ratio": 0.4, "stages": 10, "mapping": "norank", "scope": "global"}
    assert options.items() <= mask.provenance.items()
    assert mask.provenance["instability"] == {"images": 2, "epsilon": 0.1}
    assert mask.provenance["significance"] == {"method": "gradient"}


def test_instability_alone_is_enough_for_a_preset_that_needs_no_more(tmp_path: Path) -> None:
    write_scores(tmp_path)
    config = miniature(tmp_path, mask__preset="unstable", mask__ratio=0.4)
    assert grafted(mask_stage(config, Listener())) == {"1": [1, 0, 0], "3": [1, 0]}


def test_a_layer_that_is_grafted_completely_is_warned_of(tmp_path: Path) -> None:
    write_scores(tmp_path)
    listener = Listener()
    mask_stage(miniature(tmp_path, mask__preset="unstable", mask__ratio=1.0), listener)
    assert listener.lines[0].startswith("warning: grafted completely: 1, 3")


def test_a_sweep_makes_the_masks_of_its_ratios(tmp_path: Path) -> None:
    write_scores(tmp_path, [[1.0, 0.0, 0.25], [0.5, 1.0]])
    config = miniature(tmp_path, mask__sweep=[0.2, 0.4, 1])
    paths = sweep_stage(config, Listener())
    assert [path.name for path in paths] == ["mask_20.safetensors", "mask_40.safetensors", "mask_100.safetensors"]
    assert not (tmp_path / "out" / "mask.safetensors").exists()
    for path, ratio in zip(paths, (0.2, 0.4, 1.0), strict=True):
        alone = mask_stage(miniature(tmp_path, mask__ratio=ratio), Listener())
        assert GraftMask.load(path).provenance == GraftMask.load(alone).provenance
        assert grafted(path) == grafted(alone)


def test_a_sweep_reads_the_scores_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scores(tmp_path)
    read = []
    monkeypatch.setattr(scoring.dumps, "load", lambda path, load=dumps.load: read.append(path) or load(path))
    sweep_stage(miniature(tmp_path, mask__preset="unstable", mask__sweep=[0.2, 0.4, 0.6]), Listener())
    assert len(read) == 1


def test_a_sweep_that_fails_writes_nothing(tmp_path: Path) -> None:
    write_scores(tmp_path)
    before = snapshot(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"0\.3 and 0\.3 would both go into .*mask_30\.safetensors"):
        sweep_stage(miniature(tmp_path, mask__preset="unstable", mask__sweep=[0.3, 0.3]), Listener())
    with pytest.raises(ConfigError, match=r"layer cap 0\.5 leaves 2 of 5"):
        config = miniature(tmp_path, mask__preset="unstable", mask__sweep=[0.2, 0.8], mask__layer_cap=0.5)
        sweep_stage(config, Listener())
    assert snapshot(tmp_path / "out") == before


def test_one_mask_is_not_made_of_a_sweep(tmp_path: Path) -> None:
    write_scores(tmp_path)
    with pytest.raises(ConfigError, match=r"mask\.sweep: only the command mask makes several masks; set mask\.ratio"):
        mask_stage(miniature(tmp_path, mask__preset="unstable", mask__sweep=[0.3]), Listener())


def test_what_whole_channels_miss_is_told(tmp_path: Path) -> None:
    model = ModelIdentity("a", "w", {"1": (2, 2, 2)})
    (tmp_path / "out").mkdir()
    unstable = {"1": torch.tensor([[[[0, 0], [0, 1]], [[1, 1], [1, 1]]]]).bool()}
    dumps.add(dumps.empty(model, {}, {}), [0], unstable).save(tmp_path / "out" / "instability.safetensors")
    listener = Listener()
    chosen = {"mask__preset": "unstable", "mask__granularity": "channel", "mask__ratio": 0.4}
    path = mask_stage(miniature(tmp_path, **chosen), listener)
    assert grafted(path) == {"1": [[[0, 0], [0, 0]], [[1, 1], [1, 1]]]}
    assert listener.lines[-1] == "mask (unstable): 4 of 8 neurons grafted; whole channels miss the target of 3 by +1"
    assert GraftMask.load(path).provenance["granularity"] == "channel"


BASELINES = {
    "SAP": {"mask__preset": "insignificant", "significance__method": "magnitude"},
    "GAP": {"mask__preset": "insignificant", "significance__method": "gradient"},
    "Hydra": {"mask__preset": "insignificant", "mask__scope": "layer", **LEARNED, "significance__replacement": "zero"},
    "random": {"mask__preset": "random", "significance__method": "gradient"},
}


@pytest.mark.parametrize("name", BASELINES)
def test_masks_of_the_pruning_baselines_have_their_ratio_and_drop_the_least(
    tmp_path: Path, counted: Path, name: str
) -> None:
    config = configured(tmp_path, instability__dump=str(counted), **BASELINES[name])
    scores = SiteScores.load(significance_stage(config, Listener())).values
    mask = GraftMask.load(mask_stage(config, Listener()))
    assert mask.count == 818
    groups = [[site] for site in SITES] if name == "Hydra" else [list(SITES)]
    for sites in groups:
        chosen = torch.cat([mask.masks[site].flatten() for site in sites])
        values = torch.cat([scores[site].flatten() for site in sites])
        assert (values[chosen].max() <= values[~chosen].min()) == (name != "random")


def cut_dump(folder: Path) -> None:
    write_scores(folder)
    path = folder / "out" / "instability.safetensors"
    path.write_bytes(path.read_bytes()[:-3])


def other_model(folder: Path) -> None:
    write_scores(folder, [[1.0, 0.0, 0.25], [0.5, 1.0]], ModelIdentity("b", "w", MODEL.sites))


def other_weights(folder: Path) -> None:
    write_scores(folder, [[1.0, 0.0, 0.25], [0.5, 1.0]], ModelIdentity("a", "other", MODEL.sites))


def no_images(folder: Path) -> None:
    (folder / "out").mkdir()
    dumps.empty(MODEL, {}, {}).save(folder / "out" / "instability.safetensors")


@pytest.mark.parametrize(
    ("prepare", "changed", "kind", "told"),
    [
        (lambda folder: None, {}, FileFormatError, r"instability\.safetensors: no such file"),
        (cut_dump, {}, FileFormatError, r"instability\.safetensors: not a complete safetensors file"),
        (other_model, {}, MaskError, "scores of another model than the instability's .*another structure"),
        (other_weights, {}, MaskError, "scores of another model than the instability's .*other weights"),
        (no_images, {"mask__preset": "unstable"}, DataError, "counts no image"),
        (write_scores, {}, FileFormatError, "significance_gradient.safetensors: no such file; mask.preset paper needs"),
        (write_scores, {"significance__path": "nowhere.st"}, FileFormatError, r"nowhere\.st: no such file"),
        (
            write_scores,
            {"mask__preset": "unstable", "mask__layer_cap": 0.1},
            ConfigError,
            "layer cap 0.1 leaves 0 of 5",
        ),
    ],
)
def test_a_mask_that_cannot_be_made_is_not_written(
    tmp_path: Path, prepare: Callable[[Path], None], changed: dict[str, object], kind: type[Exception], told: str
) -> None:
    prepare(tmp_path)
    with pytest.raises(kind, match=told):
        mask_stage(miniature(tmp_path, **changed), Listener())
    assert not (tmp_path / "out" / "mask.safetensors").exists()


def test_published_scores_need_the_name_of_their_network(tmp_path: Path) -> None:
    torch.save([torch.rand(8, 8, 8)], tmp_path / "scores.pth")
    config = miniature(tmp_path, instability__dump=str(tmp_path / "scores.pth"), mask__preset="unstable")
    with pytest.raises(ConfigError, match=r"model\.name: not set; .*scores\.pth does not say which network it is of"):
        mask_stage(config.replace({"model.name": None}), Listener())
    with pytest.raises(MaskError, match="holds 1 tensors, the model has 3 activations"):
        mask_stage(config, Listener())


@pytest.mark.parametrize(
    ("score", "mapping", "published"),
    [
        ("gradient", "min", "grad_mask_stdg_min"),
        ("gradient", "norank", "grad_mask_stdg_norank"),
        ("magnitude", "min", "mag_mask_stdg_min"),
        ("variance", "min", "var_mask_stdg_min"),
    ],
)
def test_the_published_masks_are_made_of_the_published_scores(
    tmp_path: Path, score: str, mapping: str, published: str
) -> None:
    if not (PUBLISHED / f"{published}.pt").is_file():
        pytest.skip("the published score files are not among the shared data")
    config = miniature(
        tmp_path,
        model__name="convbig_cifar",
        instability__dump=str(PUBLISHED / "score_instability.pth"),
        significance__path=str(PUBLISHED / f"score_{score}.pth"),
        mask__preset="thesis",
        mask__mapping=mapping,
    )
    mask = GraftMask.load(mask_stage(config, Listener()))
    expected = legacy_mask(PUBLISHED / f"{published}.pt", mask.model)
    assert mask.count == 31232
    assert all(torch.equal(mask.masks[site], expected.masks[site]) for site in expected.masks)
