"""Whether both networks of a run were verified alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_runs import RunWriter, finished_run

from abcrown_graft.errors import FileFormatError
from abcrown_graft.report.outcome import read_all_outcomes
from abcrown_graft.report.run_folder import open_run
from abcrown_graft.report.transitions import read_pair

SETTINGS = {"epsilon": 0.1, "timeout": 0.9, "search": {"alpha": {"iterations": 100}}, "attack": {"steps": 5}}


def verified_with(run: RunWriter, name: str, **changed: object) -> None:
    """Gives the results of a network a head with these settings."""
    file = run.folder / f"verify_{name}.jsonl"
    head, rest = file.read_text().split("\n", 1)
    header = json.loads(head)
    header["run"]["settings"] = {**SETTINGS, **changed}
    file.write_text(json.dumps(header) + "\n" + rest)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"timeout": 0.2}, r"timeout 0\.2, .*verify_baseline.jsonl with 0\.9"),
        ({"search": {"alpha": {"iterations": 20}}}, r"search\.alpha\.iterations 20, .*verify_baseline.jsonl with 100"),
        ({"search": None}, r"search None, .*verify_baseline.jsonl with \{'alpha': \{'iterations': 100\}\}"),
    ],
)
def test_other_settings_are_one_line_naming_both_files(run: RunWriter, changed: dict[str, object], told: str) -> None:
    verified_with(run, "baseline")
    verified_with(run, "grafted", **changed)
    with pytest.raises(FileFormatError, match=f"verify_grafted.jsonl: verified with {told}; run") as error:
        read_all_outcomes([run.folder])
    assert "\n" not in str(error.value)
    with pytest.raises(FileFormatError, match=told):
        read_pair(open_run(run.folder))


def test_the_plain_network_alone_has_nothing_to_be_compared_with(run: RunWriter) -> None:
    verified_with(run, "baseline")
    verified_with(run, "grafted", timeout=0.2)
    run.record(baseline=".", label="baseline")
    assert len(read_all_outcomes([run.folder])) == 1


def test_a_setting_that_an_earlier_version_did_not_have_is_no_difference(run: RunWriter) -> None:
    verified_with(run, "baseline")
    verified_with(run, "grafted", search_together=1)
    assert len(read_all_outcomes([run.folder])) == 2


def test_runs_may_differ_from_one_another(run: RunWriter, tmp_path: Path) -> None:
    other = finished_run(tmp_path / "other")
    for each, timeout in ((run, 0.9), (other, 0.2)):
        for name in ("baseline", "grafted"):
            verified_with(each, name, timeout=timeout)
    assert len(read_all_outcomes([run.folder, other.folder])) == 4


def test_other_images_are_refused(run: RunWriter) -> None:
    file = run.folder / "verify_grafted.jsonl"
    file.write_text(file.read_text().replace('"data": "d"', '"data": "e"'))
    with pytest.raises(FileFormatError, match=r"verify_grafted.jsonl: of other images \(data e\)"):
        read_all_outcomes([run.folder])
