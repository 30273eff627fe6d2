from __future__ import annotations

import json
from pathlib import Path

import pytest
from other_process import holding

from abcrown_graft.errors import FileFormatError, SettingsDifferError
from abcrown_graft.formats.results import ResultsFile, read_results
from abcrown_graft.formats.vnncomp import VnncompFile
from abcrown_graft.verdict import InstanceResult, Verdict

RUN = {"model": "tiny", "settings": {"epsilon": 0.1, "timeout": float("inf")}, "mean": (0.5, 0.5)}
RESULTS = [
    InstanceResult(4, 1, 1, Verdict.VERIFIED, "safe-incomplete", 0.5, 0.25, 0.5),
    InstanceResult(2, 3, 0, Verdict.FALSIFIED, "unsafe-pgd", 0.125, None, -1.0),
    InstanceResult(9, 0, -1, Verdict.ERROR, "error", 0.0, reason="ValueError: ε ≤ 0"),
]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "new" / "out.txt"


def interrupted(path: Path, count: int = 3) -> ResultsFile:
    """A run that has done some images and then ended."""
    file = ResultsFile(path, RUN)
    for result in RESULTS[:count]:
        file.append(result)
    return file


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


class TestWriting:
    def test_a_line_of_json_for_the_run_each_result_and_the_end(self, path):
        interrupted(path).complete()
        head, *records, end = [json.loads(line) for line in path.read_text().splitlines()]
        assert head["kind"] == "results"
        assert head["run"] == json.loads(json.dumps(RUN))
        assert records == [result.to_record() for result in RESULTS]
        assert end == {"complete": True}
        assert names(path) == ["out.txt"]

    def test_each_result_is_in_the_file_at_once(self, path):
        file = ResultsFile(path, RUN)
        for count, result in enumerate(RESULTS, 1):
            file.append(result)
            header, found, complete = read_results(path)
            assert found == RESULTS[:count]
            assert not complete
        file.complete()
        assert read_results(path) == (header, RESULTS, True)


class TestResuming:
    def test_an_interrupted_run_goes_on(self, path):
        interrupted(path, 2)
        again = ResultsFile(path, RUN)
        assert again.done == {4: RESULTS[0], 2: RESULTS[1]}
        assert again.kept is None
        again.append(RESULTS[2])
        again.complete()
        assert read_results(path)[1:] == (RESULTS, True)
        assert names(path) == ["out.txt"]

    def test_after_a_crash_at_any_byte_of_the_last_line(self, path):
        interrupted(path)
        whole = path.read_bytes()
        start = whole.rstrip(b"\n").rfind(b"\n") + 1
        for cut in range(start, len(whole)):
            path.write_bytes(whole[:cut])
            again = ResultsFile(path, RUN)
            assert list(again.done.values()) == RESULTS[:2]
            again.append(RESULTS[2])
            assert path.read_bytes() == whole
        assert list(ResultsFile(path, RUN).done.values()) == RESULTS
        assert names(path) == ["out.txt"]

    def test_after_a_crash_within_the_mark_of_the_end(self, path):
        interrupted(path).complete()
        whole = path.read_bytes()
        for cut in range(len(whole) - len('{"complete": true}\n'), len(whole)):
            path.write_bytes(whole[:cut])
            again = ResultsFile(path, RUN)
            assert list(again.done.values()) == RESULTS
            again.complete()
            assert path.read_bytes() == whole

    def test_of_two_results_of_one_image_the_first_counts(self, path):
        file = interrupted(path)
        file.append(InstanceResult(4, 1, 1, Verdict.UNKNOWN, "unknown", 9.0))
        assert ResultsFile(path, RUN).done == {result.index: result for result in RESULTS}


class TestKeepingAside:
    @pytest.mark.parametrize(
        "other",
        [{**RUN, "model": "other"}, {**RUN, "settings": {"epsilon": 0.2}}, {**RUN, "more": None}, {"model": "tiny"}],
    )
    def test_the_results_of_another_run_are_kept(self, path, other):
        interrupted(path)
        before = path.read_bytes()
        file = ResultsFile(path, other)
        assert file.done == {}
        assert file.kept == path.with_name("out.1.txt")
        assert file.kept.read_bytes() == before
        assert read_results(path)[1:] == ([], False)

    def test_a_complete_run_is_done_anew_and_the_old_one_kept(self, path):
        interrupted(path).complete()
        before = path.read_bytes()
        file = ResultsFile(path, RUN)
        assert file.done == {}
        assert file.kept is not None and file.kept.read_bytes() == before

    def test_nothing_kept_is_ever_overwritten(self, path):
        contents = []
        for k in range(4):
            file = ResultsFile(path, {"run": k})
            file.append(RESULTS[0])
            contents.append(path.read_bytes())
        assert names(path) == ["out.1.txt", "out.2.txt", "out.3.txt", "out.txt"]
        assert [path.with_name(f"out.{k}.txt").read_bytes() for k in (1, 2, 3)] == contents[:3]

    def test_a_name_that_anything_else_has_is_skipped(self, path):
        interrupted(path).complete()
        path.with_name("out.1.txt").write_text("mine")
        path.with_name("out.2.txt").mkdir()
        assert ResultsFile(path, RUN).kept == path.with_name("out.3.txt")
        assert path.with_name("out.1.txt").read_text() == "mine"


FOREIGN = {
    "a YAML file": b"model:\n  name: cnn_a\n",
    "a pickle": b"\x80\x04\x95\x00\x01\xff\xfe.",
    "an empty file": b"",
    "one line of text": b"hello",
    "JSON of another kind": b'{"kind": "mask", "run": {}}\n',
    "JSON that is no object": b"[1, 2]\n",
    "a head without a run": b'{"kind": "results"}\n',
    "a head whose run is no object": b'{"kind": "results", "run": 3}\n',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_file_that_is_not_ours_is_refused_and_left_alone(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"out\.txt.*: .*results file"):
        ResultsFile(path, RUN)
    assert path.read_bytes() == content
    assert names(path) == ["out.txt"]


def test_a_folder_in_the_way_and_a_missing_file_are_told(path):
    with pytest.raises(FileFormatError, match="cannot be read as a results file"):
        read_results(path)
    path.mkdir(parents=True)
    with pytest.raises(FileFormatError, match="cannot be read as a results file"):
        ResultsFile(path, RUN)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r":3: not a line of a results file"),
        ("", r":3: not a line of a results file"),
        ("[]", r":3: not a result"),
        ("null", r":3: not a result"),
        ("{}", r":3: not a result"),
        (json.dumps({**RESULTS[0].to_record(), "verdict": "safe"}), r":3: not a result .*'safe'"),
        (json.dumps({**RESULTS[0].to_record(), "index": "4"}), r":3: not a result .*whole numbers"),
        (json.dumps({**RESULTS[0].to_record(), "lower_bound": "x"}), r":3: not a result .*lower_bound"),
        (json.dumps({**RESULTS[0].to_record(), "seconds": float("nan")}), r":3: not a result .*seconds"),
        (json.dumps({**RESULTS[0].to_record(), "seconds": 10**400}), r":3: not a result .*too large"),
        ("[" * 10**5, r":3: not a line of a results file"),
        (json.dumps({**RESULTS[0].to_record(), "note": 1}), r":3: not a result .*note"),
    ],
)
@pytest.mark.parametrize("run", [RUN, {"model": "other"}])
def test_a_wrong_line_is_named_and_the_file_left_alone(path, line, message, run):
    interrupted(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")
    before = path.read_bytes()
    with pytest.raises(FileFormatError, match=rf"out\.txt{message}"):
        ResultsFile(path, run)
    assert path.read_bytes() == before
    assert names(path) == ["out.txt"]


def test_a_device_is_no_results_file() -> None:
    with pytest.raises(FileFormatError, match="/dev/null: cannot be read as a results file"):
        ResultsFile("/dev/null", {})
    with pytest.raises(FileFormatError, match="/dev/null: cannot be written as a results file"):
        VnncompFile("/dev/null")
    assert not Path("/dev/null.lock").exists()


def test_a_file_that_another_process_writes_to_is_refused_until_that_is_gone(path):
    first = ResultsFile(path, RUN)
    before = path.read_bytes()
    with holding(path):
        for use in (lambda: ResultsFile(path, RUN), lambda: VnncompFile(path), first.in_use().__enter__):
            with pytest.raises(SettingsDifferError, match=r"out\.txt: process .* is writing to it; .*results_file"):
                use()
        assert path.read_bytes() == before
    with ResultsFile(path, RUN).in_use():
        assert names(path) == ["out.txt", "out.txt.lock"]
    assert names(path) == ["out.txt"]


def test_what_another_process_has_done_meanwhile_is_not_done_again(path):
    first = ResultsFile(path, RUN)
    interrupted(path, 2)
    with first.in_use():
        assert first.done == {4: RESULTS[0], 2: RESULTS[1]}


@pytest.mark.parametrize(
    "other", [lambda path: ResultsFile(path, {"model": "other"}), lambda path: interrupted(path).complete()]
)
def test_the_results_of_another_run_are_not_added_to(path, other):
    first = ResultsFile(path, RUN)
    other(path)
    before = path.read_bytes()
    with pytest.raises(SettingsDifferError, match=r"out\.txt: another process has just written it; run .* again"):
        first.in_use().__enter__()
    assert path.read_bytes() == before
    assert "out.txt.lock" not in names(path)
