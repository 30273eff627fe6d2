"""The comparison with α,β-CROWN (`scripts/benchmark`): its cases, its file, its table, its processes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "scripts" / "benchmark"
sys.path.insert(0, str(FOLDER))  # scripts import their neighbours by bare names
cases, processes, records, table = map(importlib.import_module, ("cases", "processes", "records", "table"))

CASE = cases.Case("resnet2b", 0.01, 0.5)
PLACE = cases.Place(Path("folder"), Path("data"), Path("models"), Path("mask"), Path("instances.npz"))
SETTINGS = {"timeout": 20.0}


def line(verifier: str, image: int, verdict: str, status: str, seconds: float) -> dict[str, Any]:
    """One image's line in case CASE."""
    about = {"network": CASE.network, "epsilon": CASE.epsilon, "grafted": CASE.grafted, "verifier": verifier}
    return {**about, "image": image, "label": 0, "verdict": verdict, "status": status, "seconds": seconds}


def process(verifier: str, images: int, wall: float, peak_mib: float) -> dict[str, Any]:
    """One process's line in case CASE."""
    about = {"network": CASE.network, "epsilon": CASE.epsilon, "grafted": CASE.grafted, "verifier": verifier}
    return {**about, "images": images, "wall": wall, "cpu": 2 * wall, "peak_mib": peak_mib, "code": 0}


LINES = [
    line("ours", 0, "verified", "safe-incomplete", 0.5),
    line("ours", 1, "verified", "safe", 1.0),
    line("ours", 2, "falsified", "unsafe-bab", 0.25),
    line("ours", 3, "timeout", "timeout", 20.0),
    process("ours", 4, 25.0, 400.0),
    line("theirs", 0, "verified", "safe-incomplete", 1.0),
    line("theirs", 1, "verified", "safe (timed out)", 23.0),
    line("theirs", 2, "unknown", "unknown", 21.0),
    line("theirs", 3, "verified", "safe", 15.0),
    process("theirs", 3, 60.0, 700.0),
    process("theirs", 1, 20.0, 900.0),
]


def cells(lines: list[dict[str, Any]]) -> dict[str, str]:
    """The only row of the table, by heading; of equal headings the first."""
    text, _ = table.markdown(lines)
    headings, _, row = ([cell.strip() for cell in found.strip("|").split("|")] for found in text.splitlines()[:3])
    return dict(reversed(list(zip(headings, row, strict=True))))


def test_a_network_stands_for_all_its_radii_and_a_radius_for_itself() -> None:
    found = cases.cases(["mnist_cnn_a_adv", "mnist_cnn_a_adv:0.3", "resnet2b:0.01"], [0, 0.5])
    assert [(case.network, case.epsilon) for case in found if not case.grafted] == [
        ("mnist_cnn_a_adv", 0.1),
        ("mnist_cnn_a_adv", 0.3),
        ("resnet2b", 0.01),
    ]
    assert len(found) == 6 and len({case.name for case in found}) == 6


@pytest.mark.parametrize(
    ("words", "shares", "message"),
    [
        (["resnet3"], [0], "unknown network 'resnet3'; known: cifar_cnn_a_adv"),
        (["resnet2b:big"], [0], "'big' is not a radius"),
        (["resnet2b"], [50], "50 is not a share in"),
    ],
)
def test_wrong_cases_are_named(words: list[str], shares: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cases.cases(words, shares)


@pytest.mark.parametrize("grafted", (0.0, 0.5))
def test_both_verifiers_get_the_same_model_radius_and_limits(grafted: float) -> None:
    case, limits = cases.Case("resnet2b", 0.01, grafted), cases.Limits(7.0, "skip")
    ours = cases.our_flags(case, PLACE, [4, 9], limits, Path("out"))
    theirs = cases.abcrown_config(case, PLACE, [0, 1], limits, 256)
    model = [*cases.model_flags(case, PLACE), *cases.graft_flags(case, PLACE)]
    assert ours[: len(model)] == model
    assert theirs["model"]["name"] == f'Customized("abcrown_network", "network", {json.dumps(model)})'
    assert theirs["specification"]["epsilon"] == 0.01 == float(ours[ours.index("--epsilon") + 1])
    assert theirs["bab"]["override_timeout"] == 7.0 == float(ours[ours.index("--override_timeout") + 1])
    assert theirs["attack"]["pgd_order"] == "skip" == ours[ours.index("--pgd_order") + 1]
    assert ("--graft_mask" in ours) == ("graph_optimizer" in theirs["general"]) == bool(grafted)


def test_the_configuration_for_one_case_leaves_the_settings_of_its_network_alone() -> None:
    first, second = (cases.abcrown_config(CASE, PLACE, [0], cases.Limits(t, "skip"), 256) for t in (1.0, 2.0))
    first["bab"]["override_timeout"] = 2.0
    assert first == second


def test_the_table_counts_decisions_and_adds_up_times() -> None:
    found = cells(LINES)
    assert found["decided ours / theirs / both"] == "3 / 3 / 2"
    assert (found["only ours"], found["only theirs"], found["contradictions"]) == ("1", "1", "0")
    assert (found["s, both decide: ours"], found["theirs"], found["ratio"]) == ("1.50", "24.00", "16.0")
    assert (found["images with BaB in both"], found["s: ours"]) == ("1", "1.00")
    assert (found["peak MiB ours / theirs"], found["wall s ours / theirs"]) == ("400 / 900", "25.0 / 80.0")
    assert found["CPU s ours / theirs"] == "50.0 / 160.0"


def test_an_image_that_one_has_not_tried_does_not_count() -> None:
    found = cells([*LINES, line("ours", 4, "verified", "safe", 1.0)])
    assert (found["images"], found["decided ours / theirs / both"]) == ("4", "3 / 3 / 2")


def test_a_process_that_was_interrupted_makes_the_times_lower_bounds() -> None:
    found = cells([entry for entry in LINES if entry.get("peak_mib") != 900.0])
    assert found["wall s ours / theirs"] == "25.0 / ≥ 60.0"


def test_a_contradiction_is_listed_and_is_the_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = [
        {"settings": SETTINGS},
        *LINES,
        line("ours", 5, "verified", "safe", 1),
        line("theirs", 5, "falsified", "unsafe-bab", 1),
    ]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in lines), encoding="utf-8")
    command = [sys.executable, str(FOLDER / "compare.py"), "--table", str(path)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 1 and f"- {CASE.name}: image 5" in found.stdout


def test_records_go_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "out.jsonl"
    records.Records(path, SETTINGS).add(CASE, "ours", {"image": 3, "verdict": "verified"})
    with path.open("a") as file:
        file.write('{"network": "res')
    again = records.Records(path, SETTINGS)
    assert again.done(CASE, "ours") == {3} and again.done(CASE, "theirs") == set()
    again.add(CASE, "theirs", {"image": 4, "verdict": "unknown"})
    assert records.Records(path, SETTINGS).done(CASE, "theirs") == {4}


def test_records_of_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    records.Records(path, SETTINGS)
    with pytest.raises(ValueError, match=r"out\.jsonl: made with \{'timeout': 20\.0\}, not \{'timeout': 30\}"):
        records.Records(path, {"timeout": 30})


def test_a_process_is_measured(tmp_path: Path) -> None:
    polled: list[int] = []
    code = "import os, time; x = bytearray(100 << 20); time.sleep(0.1); print(os.environ['OMP_NUM_THREADS'])"
    log = tmp_path / "log"
    usage = processes.run([sys.executable, "-c", code], log, processes.environment(3), None, lambda: polled.append(1))
    assert (usage.code, log.read_text().strip()) == (0, "3") and polled
    assert usage.peak_mib > 100 and usage.wall >= 0.1 and 0 < usage.cpu < 60


def test_a_process_that_fails_is_told_with_the_end_of_its_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    usage = processes.run([sys.executable, "-c", "raise SystemExit('no such thing')"], log, processes.environment(1))
    with pytest.raises(processes.ProcessFailed, match="exit code 1; .*ends with:\nno such thing"):
        processes.check(usage, log)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "x"], "--networks is missing"),
        (["--out", "x", "--networks", "resnet2b"], "--abcrown-home is missing"),
        (["--out", "x", "--networks", "resnet2b", "--abcrown-home", "nowhere", "--auto-lirpa-home", "."], "nowhere"),
        (["--out", "x", "--networks", "resnet3", "--verifiers", "ours"], "unknown network 'resnet3'"),
    ],
)
def test_wrong_command_lines(words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ABCROWN_HOME", "AUTO_LIRPA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    command = [sys.executable, str(FOLDER / "compare.py"), *words, "--data-dir", ".", "--models", "."]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 2 and message in found.stderr and list(tmp_path.iterdir()) == []
