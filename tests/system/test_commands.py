"""The commands as a user types them, from an empty folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import MINIATURE, Finished, run_main, snapshot
from decisions import up_to, with_decisions

from abcrown_graft.cli import abcrown, tools
from abcrown_graft.files import read_safetensors
from abcrown_graft.masks import dump as dumps
from abcrown_graft.masks.legacy import legacy_mask
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.models.weights import package_folder
from abcrown_graft.pipeline import scoring

pytestmark = pytest.mark.usefixtures("one_thread")

WEIGHTS = package_folder() / "model_defs" / "weights"
SMALL = "--end 8 --pgd_steps 5 --pgd_restarts 2 --batch_size 3 --bound_prop_method crown --complete_verifier skip"
SUMMARY = re.compile(r"^(Final|Problem|safe-incomplete|unsafe-pgd|unknown|UNR).*$", re.MULTILINE)
ABCROWN = Path(sys.executable).parent / "abcrown"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def graft(words: str) -> Finished:
    """`abcrown-graft`, which has to succeed."""
    found = run_main(tools.main, *words.split())
    assert (found.code, found.err) == (0, ""), found
    return found


def verify(words: str) -> Finished:
    """`abcrown`, which has to succeed."""
    found = run_main(abcrown.main, *words.split())
    assert (found.code, found.err) == (0, ""), found
    return found


def summary(found: Finished) -> list[str]:
    """The summary without the times."""
    return [match[0] for match in SUMMARY.finditer(found.out)]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Finished]]:
    """Every stage by hand, in one folder, each with the flags of the miniature; the folder under the key `folder`."""
    folder = tmp_path_factory.mktemp("staged")
    (folder / "mini.yaml").write_text(MINIATURE)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in ("train", "instability", "significance", "mask", "tune", "evaluate"):
            found[stage] = graft(
                f"{stage} --config mini.yaml{' --load_model runs/train.safetensors' if stage == 'evaluate' else ''}"
            )
        yield {**found, "folder": folder}


@pytest.fixture(scope="module")
def piped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """The same by `run`, and its folder."""
    folder = tmp_path_factory.mktemp("piped")
    (folder / "mini.yaml").write_text(MINIATURE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, graft("run mini.yaml --pipeline_output mine")


@pytest.mark.skipif(not ABCROWN.exists(), reason="the package is not installed")
def test_the_digits_are_verified_from_any_folder(here: Path) -> None:
    found = subprocess.run(
        [ABCROWN, "--config", "digits_graft", *SMALL.split()],
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("idx: 0, label: ")
    assert f"results file: {here}/out.txt\n" in found.stdout
    assert [path.name for path in here.iterdir()] == ["out.txt"]


@pytest.mark.parametrize("name", ("digits_graft", "digits_graft.yaml", "exp_configs/digits_graft.yaml"))
def test_an_installed_experiment_is_found_by_its_name(name: str) -> None:
    assert "Final verified acc: 100.0% (total 1 examples)" in verify(f"--config {name} --end 1").out


def test_crown_verifies_the_grafted_digits_more_often_than_the_plain_ones() -> None:
    accuracy = {}
    bounds_only = "--bound_prop_method crown --complete_verifier skip"
    for name in ("digits_baseline", "digits_graft"):
        text = verify(f"--config {name} --end 20 --pgd_steps 10 --pgd_restarts 3 --no_progress {bounds_only}").out
        accuracy[name] = float(re.search(r"Final verified acc: (\S+)%", text)[1])
    assert accuracy["digits_graft"] > accuracy["digits_baseline"]


def test_an_interrupted_verification_goes_on_to_the_summary_of_an_uninterrupted_one(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"--config digits_graft {SMALL} --instability_dump unstable.safetensors"
    whole = verify(f"{words} --results_file whole.txt --instability_dump whole.safetensors")
    with_decisions(monkeypatch, up_to(4))
    broken = run_main(abcrown.main, *words.split())
    assert (broken.code, broken.err) == (130, "interrupted; run the same command again to go on\n")
    assert len((here / "out.txt").read_text().splitlines()) == 1 + 4
    monkeypatch.undo()
    monkeypatch.chdir(here)
    again = verify(words)
    assert again.out.startswith("resuming: 4 of 8 images are done\ninstability: going on with ")
    assert re.findall(r"^idx: (\d)", again.out, re.MULTILINE) == list("4567")
    assert summary(again) == summary(whole) and len(summary(whole)) >= 5
    assert again.out.splitlines()[-1] == f"results file: {here}/out.txt"


def test_every_stage_says_where_its_result_lies(staged: dict[str, Finished]) -> None:
    words = {
        "train": "checkpoint: {}/train.safetensors",
        "instability": "instability dump: {}/instability.safetensors",
        "significance": "significance scores: {}/significance_gradient.safetensors",
        "mask": "mask: {}/mask.safetensors",
        "tune": "checkpoint: {}/tune.safetensors",
        "evaluate": "evaluation: {}/evaluation_model.json",
    }
    runs = staged["folder"] / "runs"
    for stage, line in words.items():
        assert staged[stage].out.splitlines()[-1] == line.format(runs)
        assert Path(staged[stage].out.splitlines()[-1].split(": ", 1)[1]).is_file()
    assert re.search(r"^UNR: \S+% of all neurons", staged["instability"].out, re.MULTILINE)
    assert re.search(r"^model: SA \S+%, RA \S+% ", staged["evaluate"].out, re.MULTILINE)


def test_the_stages_by_hand_and_run_make_the_same_network(
    staged: dict[str, Finished], piped: tuple[Path, Finished]
) -> None:
    by_hand, by_run = staged["folder"] / "runs", piped[0] / "mine"
    for name in ("train", "significance_gradient", "mask", "tune", "instability"):
        a, b = (read_safetensors(folder / f"{name}.safetensors")[0] for folder in (by_hand, by_run))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), name


def test_the_stages_write_nothing_elsewhere(staged: dict[str, Finished], piped: tuple[Path, Finished]) -> None:
    assert {path.name for path in staged["folder"].iterdir()} == {"mini.yaml", "runs"}
    assert {path.name for path in piped[0].iterdir()} == {"mini.yaml", "mine"}


def test_run_ends_with_the_table_and_where_it_lies(piped: tuple[Path, Finished]) -> None:
    folder, found = piped
    assert [line for line in found.out.splitlines() if line.startswith("[")][:2] == ["[train]", "[instability]"]
    assert "Before and after grafting" in found.out
    assert found.out.splitlines()[-1] == f"report: {folder}/mine/report.md"
    table = [line for line in found.out.splitlines() if line.startswith("│")]
    assert len(table) == 2 and "baseline" in table[0] and "grafting 50 %" in table[1]


def test_report_shows_finished_runs_again_without_touching_them(piped: tuple[Path, Finished], here: Path) -> None:
    before = snapshot(piped[0])
    found = graft(f"report {piped[0] / 'mine'} {piped[0] / 'mine'} --report_path two.md")
    assert len([line for line in found.out.splitlines() if line.startswith("│")]) == 2, (
        "a folder given twice is one run"
    )
    assert found.out.splitlines()[-1] == f"report: {here}/two.md"
    assert (here / "two.md").read_text().count("| mine | grafting 50 % | 50.00 |") == 1
    assert snapshot(piped[0]) == before
    assert [path.name for path in here.iterdir()] == ["two.md"]
    assert graft(f"report {piped[0] / 'mine'}").out.rstrip().endswith("┘")


def test_the_tuned_network_is_verified_by_abcrown(staged: dict[str, Finished]) -> None:
    folder = staged["folder"]
    tuned = f"--config {folder}/mini.yaml --graft_checkpoint {folder}/runs/tune.safetensors"
    found = verify(f"{tuned} --instability_dump d.safetensors")
    assert "(total 12 examples)" in found.out
    assert dumps.load("d.safetensors").grafted_fraction == 0.5


def test_a_mask_alone_grafts_the_plain_network(staged: dict[str, Finished]) -> None:
    runs = staged["folder"] / "runs"
    plain = f"--config {staged['folder']}/mini.yaml --load_model {runs}/train.safetensors --end 3"
    verify(f"{plain} --graft_mask {runs}/mask.safetensors --graft_slope 0.2 --instability_dump d.safetensors")
    dump, mask = dumps.load("d.safetensors"), GraftMask.load(runs / "mask.safetensors")
    assert dump.grafted == mask.count_per_site()


def test_counting_during_verification_and_by_the_stage_agree() -> None:
    plain = "--config digits_baseline --instability_population all"
    verify(f"{plain} {SMALL} --instability_dump during.safetensors")
    graft(f"instability {plain} --instability_split test --instability_end 8 --instability_dump alone.safetensors")
    during, alone = dumps.load("during.safetensors"), dumps.load("alone.safetensors")
    assert during.n == alone.n == 8 and during.settings == alone.settings
    assert all(torch.equal(during.counts[site], alone.counts[site]) for site in alone.counts)


def test_the_dump_of_two_parts_merged_is_the_dump_of_the_whole(here: Path) -> None:
    words = "instability --config digits_baseline --instability_split test"
    for name, start, end in (("a", 0, 3), ("b", 3, 9), ("whole", 0, 9)):
        graft(f"{words} --instability_start {start} --instability_end {end} --instability_dump {name}.safetensors")
    found = graft("merge b.safetensors a.safetensors --instability_dump merged.safetensors")
    merged, whole = dumps.load("merged.safetensors"), dumps.load("whole.safetensors")
    assert torch.equal(merged.indices, whole.indices) and merged.settings == whole.settings
    assert all(torch.equal(merged.counts[site], whole.counts[site]) for site in whole.counts)
    unr = [line for line in found.out.splitlines() if line.startswith("UNR: ")]
    share = f"{100 * whole.unr():.2f}%"
    assert unr == [f"UNR: {share} of all neurons, {share} of the ungrafted ones ({whole.n} images)"]
    assert found.out.splitlines()[-1] == f"instability dump: {here}/merged.safetensors"


def test_an_interrupted_count_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "instability --config digits_baseline --instability_end 12 --batch_size 4"
    graft(f"{words} --instability_dump whole.safetensors")
    verify_cases = scoring.verify_cases
    monkeypatch.setattr(scoring, "verify_cases", lambda *args: up_to(6)(verify_cases(*args)))
    assert run_main(tools.main, *words.split()).code == 130
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert "going on with" in graft(words).out
    part, whole = dumps.load("runs/instability.safetensors"), dumps.load("whole.safetensors")
    assert torch.equal(part.indices, whole.indices)
    assert all(torch.equal(part.counts[site], whole.counts[site]) for site in whole.counts)


def test_an_interrupted_run_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "mini.yaml").write_text(MINIATURE)

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scoring, "select_mask", interrupted)
    broken = run_main(tools.main, "run", "mini.yaml")
    assert (broken.code, broken.err) == (130, "interrupted; run the same command again to go on\n")
    monkeypatch.undo()
    monkeypatch.chdir(here)
    again = graft("run mini.yaml")
    assert again.out.startswith("[train] unchanged, skipped\n")
    assert "[mask]\nsite 1: " in again.out and "Before and after grafting" in again.out


def test_a_published_mask_is_made_of_its_published_scores(here: Path) -> None:
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "grafting" / "convbig_cifar"
    if not (folder / "grad_mask_stdg_min.pt").is_file():
        pytest.skip("the published score files are not among the shared data")
    found = graft(
        f"mask --model convbig_cifar --instability_dump {folder}/score_instability.pth "
        f"--significance_path {folder}/score_gradient.pth --mask_preset thesis --mask_mapping min "
        "--mask_path m.safetensors"
    )
    mask = GraftMask.load(here / "m.safetensors")
    expected = legacy_mask(folder / "grad_mask_stdg_min.pt", mask.model)
    assert all(torch.equal(mask.masks[site], expected.masks[site]) for site in expected.masks)
    assert "mask (thesis): 31232 of 62464 neurons grafted" in found.out
    assert [path.name for path in here.iterdir()] == ["m.safetensors"]


def test_frozen_weights_are_those_of_the_plain_network(staged: dict[str, Finished], here: Path) -> None:
    folder = staged["folder"]
    words = f"tune --config {folder}/mini.yaml --load_model {folder}/runs/train.safetensors"
    graft(f"{words} --mask_path {folder}/runs/mask.safetensors --freeze_weights --pipeline_output frozen")
    plain = read_safetensors(folder / "runs" / "train.safetensors")[0]
    tuned, header = read_safetensors(here / "frozen" / "tune.safetensors")
    assert all(torch.equal(tuned[name], plain[name]) for name in plain)
    assert len(tuned) > len(plain) and "freeze_weights: true" in header["config"]


def test_results_are_lines_of_json_for_other_tools() -> None:
    verify(f"--config digits_graft {SMALL}")
    head, *results, last = map(json.loads, Path("out.txt").read_text().splitlines())
    assert head["run"]["engine"] == "native" and last == {"complete": True}
    assert {"index", "label", "predicted", "verdict", "status", "seconds"} <= results[0].keys()


@pytest.mark.parametrize(
    "config", ("cnnb_paper_graft", "convbig_mnist_paper_baseline", "convhuge_graft", "resnet4b_baseline")
)
def test_published_experiments_lack_only_weights_and_say_how_to_make_them(config: str) -> None:
    found = run_main(abcrown.main, "--config", config)
    assert found.code == 2 and found.err.count("\n") == 1
    stage = "run" if config.endswith("graft") else "train --config"
    assert re.fullmatch(
        rf"error: (graft\.checkpoint|model\.path): .*\.safetensors: no such file; "
        rf"make it with: abcrown-graft {stage} .*{config}\.yaml\n",
        found.err,
    )
