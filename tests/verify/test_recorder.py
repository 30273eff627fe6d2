from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from image_cases import cases_at
from torch import nn

from abcrown_graft.attack.pgd import PGDSettings
from abcrown_graft.bounds.propagate import bound_network
from abcrown_graft.errors import ConfigError, FileFormatError, OutputError, SettingsDifferError
from abcrown_graft.geometry.robustness import linf_box
from abcrown_graft.masks.dump import InstabilityDump, load
from abcrown_graft.models.load import LoadedModel, prepare
from abcrown_graft.nn.surgery import graft
from abcrown_graft.verdict import InstanceResult
from abcrown_graft.verify.batches import verify_boxes
from abcrown_graft.verify.problem import Subject, VerifySettings
from abcrown_graft.verify.recorder import InstabilityRecorder

pytestmark = pytest.mark.usefixtures("one_thread")

EPSILON = 0.08
COUNT = 24
INDICES = list(range(100, 100 + COUNT))[::-1]
ABOUT = {"epsilon": EPSILON, "mean": (0.5,)}


def small_net(seed: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)]
    module = nn.Sequential(*layers).requires_grad_(False)
    for layer in module[::2]:
        layer.weight *= 3
    module[4].bias -= module(torch.rand(1000, 2)).median(0).values
    return module


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return prepare(small_net(), (2,))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(COUNT, 2, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def labels(model, images) -> torch.Tensor:
    """Four of the images are misclassified."""
    found = model.module(images).argmax(1)
    found[::6] = (found[::6] + 1) % 3
    return found


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "dump.safetensors"


def recorder(path, model, method="crown", population="correct", **about) -> InstabilityRecorder:
    return InstabilityRecorder(path, model.identity, model.grafted, {**ABOUT, **about}, method, population)


def verify(model, images, labels, watcher, indices=INDICES, batch_size=5, **options) -> list[InstanceResult]:
    settings = VerifySettings(attack=PGDSettings(steps=10, restarts=3), batch_size=batch_size, **options)
    subject = Subject.prepare(model.module, model.network, "cpu", False)
    return list(verify_boxes(subject, cases_at(subject, images, labels, indices, EPSILON), settings, watcher))


def population(name: str, results: list[InstanceResult]) -> list[int]:
    """Positions of the images that count."""
    member = {
        "all": lambda r: True,
        "correct": lambda r: r.predicted == r.label,
        "bab": lambda r: r.verdict == "unknown",
    }[name]
    return [k for k, result in enumerate(results) if member(result)]


@pytest.mark.parametrize("method", ["interval", "crown"])
@pytest.mark.parametrize("name", ["correct", "all", "bab"])
def test_counts_are_those_of_the_bounds_of_the_population(model, images, labels, path, method, name):
    watcher = recorder(path, model, method, name)
    results = verify(model, images, labels, watcher)
    members = population(name, results)
    bounds = bound_network(model.network, linf_box(images[members], EPSILON), method)
    dump = watcher.dump
    assert dump.indices.tolist() == sorted(INDICES[k] for k in members)
    order = sorted(range(len(members)), key=lambda row: INDICES[members[row]])
    for site in model.network.sites:
        box = bounds.pre_activation[site]
        unstable = (box.lower < 0) & (box.upper > 0)
        assert torch.equal(dump.counts[site], unstable.sum(0))
        assert torch.equal(dump.unstable_per_image[site], unstable.flatten(1).sum(1)[order])
    assert 0 < sum(int(count.sum()) for count in dump.counts.values())


def test_the_populations_differ_as_they_should(model, images, labels, path):
    results = verify(model, images, labels, None)
    correct, everything, open_ones = (set(population(name, results)) for name in ("correct", "all", "bab"))
    attacked = {k for k in correct if results[k].verdict == "falsified"}
    assert attacked, "attacked images are correct ones"
    assert len(everything) == COUNT and len(correct) == COUNT - 4
    assert open_ones and open_ones < correct - attacked


@pytest.mark.parametrize("name", ["correct", "all", "bab"])
def test_recording_changes_no_verdict(model, images, labels, path, name):
    def essence(results):
        return [(r.index, r.verdict, r.predicted, r.lower_bound) for r in results]

    recorded = verify(model, images, labels, recorder(path, model, "crown", name))
    for (*ours, bound), (*plain, alone) in zip(
        essence(recorded), essence(verify(model, images, labels, None)), strict=True
    ):
        assert ours == plain
        assert bound == pytest.approx(alone, abs=1e-5)


def test_the_dump_is_on_the_disk_after_each_batch(model, images, labels, path):
    watcher = recorder(path, model, population="all")
    settings = VerifySettings(attack=None, batch_size=5)
    subject = Subject.prepare(model.module, model.network, "cpu", False)
    cases = cases_at(subject, images, labels, INDICES, EPSILON)
    counted = [load(path).n for _ in verify_boxes(subject, cases, settings, watcher)]
    assert counted == [5] * 5 + [10] * 5 + [15] * 5 + [20] * 5 + [24] * 4


def test_nothing_is_written_before_an_image_counts(model, images, labels, path):
    recorder(path, model)
    assert not path.exists()
    wrong = (model.module(images).argmax(1) + 1) % 3
    watcher = recorder(path, model)
    verify(model, images, wrong, watcher)
    assert watcher.dump.n == 0 and not path.exists()


def test_an_interrupted_dump_goes_on_and_no_image_counts_twice(model, images, labels, path):
    whole = recorder(path.with_name("whole.safetensors"), model)
    verify(model, images, labels, whole)
    verify(model, images[:9], labels[:9], recorder(path, model), INDICES[:9])
    again = recorder(path, model)
    assert 0 < again.dump.n <= 9
    for results in (verify(model, images, labels, again), verify(model, images, labels, again)):
        assert "error" not in {str(result.verdict) for result in results}
    found = load(path)
    assert found.indices.tolist() == whole.dump.indices.tolist()
    assert all(torch.equal(found.counts[site], whole.dump.counts[site]) for site in found.counts)
    assert all(torch.equal(found.unstable_per_image[s], whole.dump.unstable_per_image[s]) for s in found.counts)


def test_a_batch_that_runs_out_of_memory_after_it_was_counted_counts_once(model, images, labels, path, monkeypatch):
    from abcrown_graft.verify import stages

    whole = stages.confirmed_margins

    def too_large(batch, positions, method):
        if len(batch.cases) > 2:
            raise MemoryError
        return whole(batch, positions, method)

    monkeypatch.setattr(stages, "confirmed_margins", too_large)
    watcher = recorder(path, model, population="all")
    verdicts = {str(result.verdict) for result in verify(model, images, labels, watcher, batch_size=8)}
    assert verdicts == {"verified", "falsified", "unknown"}
    assert load(path).n == COUNT


OTHERS = [
    ({"epsilon": 0.1}, r"made with epsilon = 0\.08, this run has 0\.1"),
    ({"split": "train"}, r"made with split = None, this run has 'train'"),
    ({"method": "interval"}, r"made with method = 'crown', this run has 'interval'"),
    ({"population": "all"}, r"made with population = 'correct', this run has 'all'"),
]


@pytest.mark.parametrize(("changes", "message"), OTHERS)
def test_other_settings_are_refused_by_name_and_the_file_left_alone(model, images, labels, path, changes, message):
    verify(model, images, labels, recorder(path, model))
    before = path.read_bytes()
    with pytest.raises(SettingsDifferError, match=rf"dump\.safetensors: {message}; name another instability\.dump"):
        recorder(path, model, **changes)
    assert path.read_bytes() == before


def test_other_models_and_masks_are_refused(model, images, labels, path):
    verify(model, images, labels, recorder(path, model))
    with pytest.raises(SettingsDifferError, match=r"a dump of another model \(same structure, other weights"):
        recorder(path, prepare(small_net(2), (2,)))
    wider = nn.Sequential(nn.Linear(2, 9), nn.ReLU(), nn.Linear(9, 3))
    with pytest.raises(SettingsDifferError, match=r"a dump of another model \(extra sites: '3'; sites of another"):
        recorder(path, prepare(wider, (2,)))
    with pytest.raises(SettingsDifferError, match="made with another mask"):
        InstabilityRecorder(path, model.identity, {"1": 2}, ABOUT, "crown", "correct")


def test_unknown_populations_and_files_that_are_no_dumps_are_refused(model, path):
    with pytest.raises(ConfigError, match=r"instability\.population: unknown population 'some'"):
        recorder(path, model, population="some")
    path.write_bytes(b"model:\n  name: cnn_a\n")
    with pytest.raises(FileFormatError, match=r"dump\.safetensors"):
        recorder(path, model)
    assert path.read_bytes() == b"model:\n  name: cnn_a\n"


def test_grafted_neurons_never_count(model, images, labels, path):
    plain = recorder(path.with_name("plain.safetensors"), model, population="all")
    verify(model, images, labels, plain)
    mask = plain.dump.counts["1"] > 0
    assert bool(mask.any()) and not bool(mask.all())
    first = mask & (mask.cumsum(0) <= 2)
    masks = {"1": first, "3": torch.ones(8, dtype=torch.bool)}
    grafted = prepare(graft(model.core, masks, slope=1.0), (2,))
    watcher = recorder(path, grafted, population="all")
    verify(grafted, images, labels, watcher)
    assert watcher.dump.grafted == {"1": 2, "3": 8}
    assert not bool(watcher.dump.counts["1"][first].any())
    assert torch.equal(watcher.dump.counts["1"][~first], plain.dump.counts["1"][~first])
    assert not bool(watcher.dump.counts["3"].any())


def test_a_dump_that_cannot_be_written_ends_the_run_and_counts_nothing(model, images, labels, path, monkeypatch):
    watcher = recorder(path, model, population="all")
    verify(model, images[:9], labels[:9], watcher, INDICES[:9])
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(InstabilityDump, "save", full)
    with pytest.raises(OutputError, match=f"{path.name}: the dump cannot be written .No space"):
        verify(model, images, labels, watcher)
    assert watcher.dump.n == 9 and path.read_bytes() == before


def test_a_path_that_cannot_be_written_is_refused_before_anything_is_counted(model, path):
    path.write_bytes(b"")
    with pytest.raises(OutputError, match="dump.safetensors: nothing can be written to .*Not a directory"):
        recorder(path / "dump.safetensors", model)
    with pytest.raises(OutputError, match="is a folder"):
        recorder(path.parent, model)
