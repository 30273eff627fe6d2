"""SIGTERM and SIGHUP to a running `abcrown`: what it found is kept, nothing else is left."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from other_process import python

from abcrown_graft.formats.results import read_results

PROGRAM = "import sys; from abcrown_graft.cli.abcrown import main; sys.exit(main())"
WORDS = "--config exp_configs/digits_graft.yaml --end 500 --batch_size 1 --complete_verifier skip"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    monkeypatch.chdir(tmp_path)
    with python(PROGRAM, *WORDS.split()) as process:
        assert process.stdout is not None and process.stdout.readline().startswith("idx: ")
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert err == "interrupted; run the same command again to go on\n"
    _, results, complete = read_results("out.txt")
    assert results and not complete
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
