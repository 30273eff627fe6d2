"""`abcrown --engine abcrown` with the real α,β-CROWN, beside the native engine on the same files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import Finished, run_main
from upstream import HOMES, homes

from abcrown_graft.cli.abcrown import main
from abcrown_graft.engines.abcrown.locate import search
from abcrown_graft.formats.results import read_results
from abcrown_graft.masks.dump import InstabilityDump, load
from abcrown_graft.verdict import InstanceResult

homes()
FOUND = search(None, {name: home for name, home in HOMES.items() if home})
if FOUND.problems:
    pytest.skip("; ".join(FOUND.problems), allow_module_level=True)

QUICK = ("--pgd_steps", "20", "--pgd_restarts", "3", "--iteration", "10", "--init_iteration", "20")
SMALL = """
general: {device: cpu}
model: {name: 'Customized("small.py", "network")', input_shape: [-1, 1, 8, 8]}
data: {dataset: 'Customized("small.py", "images")', select_instance: [0, 1, 2, 7], mean: 0.4, std: 0.5}
specification: {epsilon: 0.03}
bab: {timeout: 60}
"""
SMALL_FILE = """
from pathlib import Path

import torch
from torch import nn

def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 10))

def random_network():
    made = network()
    torch.seed()
    factor = 1.5 + torch.rand(())
    with torch.no_grad():
        for values in made[-1].parameters():
            values.mul_(factor)
    return made

def network_once():
    mark = Path(__file__).with_name("loaded")
    if mark.exists():
        raise ValueError("the weights are gone")
    mark.touch()
    return network()

def images():
    x = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = network()((x - 0.4) / 0.5).argmax(1)
    return {"X": x, "labels": labels, "num_classes": 10, "target_label": (labels + 1) % 10}

def boxes():
    made = images()
    return made | {"data_min": (made["X"] - 0.04).clamp(0, 1), "data_max": (made["X"] + 0.02).clamp(0, 1)}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network of 40 neurons and images for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.py").write_text(SMALL_FILE)
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def run(engine: str, *words: str) -> Finished:
    """`abcrown` in the current folder, with files named after the engine."""
    with pytest.MonkeyPatch.context() as patch:
        for name, home in HOMES.items():
            patch.setenv(name, str(home))
        patch.setenv("OMP_NUM_THREADS", "1")
        return run_main(main, "--engine", engine, "--results_file", f"{engine}.txt", *words)


def results(engine: str) -> dict[int, InstanceResult]:
    """Of a finished run, by image."""
    _, found, complete = read_results(f"{engine}.txt")
    assert complete
    return {result.index: result for result in found}


def both(*words: str) -> tuple[dict[int, InstanceResult], dict[int, InstanceResult]]:
    """The results of the same command line by α,β-CROWN and by the native engine."""
    for engine in ("abcrown", "native"):
        finished = run(engine, *words)
        assert finished.code == 0, finished.out + finished.err
    return results("abcrown"), results("native")


def decided(found: dict[int, InstanceResult]) -> dict[int, str]:
    return {index: str(r.verdict) for index, r in found.items() if str(r.verdict) in ("verified", "falsified")}


def assert_no_contradiction(theirs: dict[int, InstanceResult], ours: dict[int, InstanceResult]) -> None:
    assert list(theirs) == list(ours)
    assert {str(r.verdict) for r in (*theirs.values(), *ours.values())} <= {
        "verified",
        "falsified",
        "unknown",
        "timeout",
    }
    left, right = decided(theirs), decided(ours)
    assert {index: left[index] for index in left if index in right} == {i: right[i] for i in right if i in left}


def unstable(dump: InstabilityDump) -> dict[str, list[int]]:
    return {site: counts.flatten().tolist() for site, counts in dump.counts.items()}


def test_a_grafted_network(here: Path) -> None:
    """Image 3 is misclassified, 4 is fooled, 0 and 6 are proved by the first bounds, 2 is searched."""
    words = ("--config", "digits_graft", "--select_instance", "0", "2", "3", "4", "6", "--timeout", "10", *QUICK)
    words += ("--instability_population", "all", "--instability_dump", "dump.st")
    theirs, ours = both(*words)
    assert_no_contradiction(theirs, ours)
    assert {"verified", "falsified"} <= set(decided(theirs).values())
    # The second engine went on with the dump of the first, and found no image left to count.
    assert load("dump.st").indices.tolist() == [0, 2, 3, 4, 6]
    (here / "dump.st").rename("theirs.st")
    assert run("native", *words, "--complete_verifier", "skip").code == 0
    assert unstable(load("dump.st")) == unstable(load("theirs.st")), "the same CROWN bounds"


def test_alpha_crown_counts_no_neuron_more_than_crown(here: Path) -> None:
    """Whichever engine counts by CROWN: they count the same."""
    words = ("--config", "digits_baseline", "--end", "1", "--complete_verifier", "skip", "--pgd_order", "skip", *QUICK)
    for method, engine in {"crown": "native", "alpha-crown": "abcrown"}.items():
        finished = run(engine, *words, "--instability_method", method, "--instability_dump", f"{method}.st")
        assert finished.code == 0, finished.err
    crown, alpha = unstable(load("crown.st")), unstable(load("alpha-crown.st"))
    assert all(a <= c for site in crown for a, c in zip(alpha[site], crown[site], strict=True))
    assert sum(map(sum, alpha.values())) < sum(map(sum, crown.values()))
    assert load("alpha-crown.st").settings["method"] == "alpha-crown"


def test_a_plain_network_by_mixed_integer_programs(here: Path) -> None:
    words = ("--config", "small.yaml", "--complete_verifier", "mip", "--pgd_order", "skip", "--save_adv_example")
    theirs, ours = both(*words, "--cex_path", "cex.txt")
    assert decided(theirs) == decided(ours) and len(decided(theirs)) == 4
    assert set(decided(theirs).values()) == {"verified", "falsified"}
    for index, result in theirs.items():
        assert result.status in ("safe-mip", "unsafe-mip", "safe-incomplete")
        assert result.verdict != "falsified" or result.margin <= 0
        assert (here / f"cex_{index}.txt").exists() == (result.verdict == "falsified")


@pytest.mark.parametrize(
    "words",
    [
        ("--robustness_type", "specify-target"),
        ("--dataset", 'Customized("small.py", "boxes")', "--spec_type", "box", "--epsilon", "null", "--double_fp"),
    ],
    ids=lambda words: words[1],
)
def test_every_kind_of_property(here: Path, words: tuple[str, ...]) -> None:
    if "null" in words:
        (here / "small.yaml").write_text(SMALL.replace("specification: {epsilon: 0.03}\n", ""))
        words = tuple(word for word in words if word not in ("--epsilon", "null"))
    theirs, ours = both("--config", "small.yaml", *words, *QUICK)
    assert_no_contradiction(theirs, ours)
    assert len(decided(theirs)) == len(decided(ours)) == 4


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("random_network", "ModelError: the network that α,β-CROWN got differs by"),
        ("network_once", "the weights are gone"),
    ],
)
def test_a_model_that_is_not_ours_there_is_an_error(here: Path, function: str, told: str) -> None:
    """α,β-CROWN itself ends with exit code 0 where it cannot load a model."""
    finished = run("abcrown", "--config", "small.yaml", "--model", f'Customized("small.py", "{function}")')
    assert finished.code == 2
    assert finished.err.startswith("error: α,β-CROWN did not start: ") and told in finished.err
    assert finished.err.count("\n") == 1 and "abcrown.txt.log" in finished.err
    assert read_results("abcrown.txt")[1:] == ([], False), "nothing is decided, a later run goes on"


def test_an_option_that_fails_there_is_an_error_of_each_image(here: Path) -> None:
    words = ("--config", "small.yaml", "--pgd_order", "skip", "--graph_optimizer", "no_such_function")
    finished = run("abcrown", *words)
    assert finished.code == 1
    assert [str(result.verdict) for result in results("abcrown").values()] == ["error"] * 4
    assert re.search(r"^error: image 7: NameError: name 'no_such_function' is not defined$", finished.err, re.MULTILINE)


def test_auto_takes_it_and_says_so(here: Path) -> None:
    words = ("--config", "small.yaml", "--robustness_type", "runnerup", *QUICK)
    finished = run("auto", *words)
    assert finished.code == 0, finished.err
    version, lirpa = FOUND.verifier.version, FOUND.lirpa.version
    assert f"engine: abcrown (auto: α,β-CROWN {version} from ABCROWN_HOME " in finished.out
    assert f"engine: abcrown (α,β-CROWN {version}, auto_LiRPA {lirpa}, cpu, float32; its output: " in finished.out
    assert "Result:" in (here / "auto.txt.log").read_text()
    assert run("native", *words).code == 0
    theirs, ours = results("auto"), results("native")
    assert_no_contradiction(theirs, ours)
    assert len(decided(theirs)) == len(decided(ours)) == 4
