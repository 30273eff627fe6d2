"""Exit codes, and one line for every error that the user can mend."""

from __future__ import annotations

import subprocess
import sys

import pytest

from abcrown_graft.cli.errors import FAILED, WRONG_INPUT, guarded
from abcrown_graft.errors import AbcrownGraftError, ConfigError, MaskError


def raising(error: BaseException):
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize("code", (0, FAILED))
def test_the_exit_code_of_a_command_passes(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: code) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", (AbcrownGraftError, ConfigError, MaskError))
def test_an_error_of_this_package_is_one_line(kind: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(kind("a.yaml: wrong\n  in two\tlines"))) == WRONG_INPUT == 2
    assert capsys.readouterr() == ("", "error: a.yaml: wrong in two lines\n")


def test_an_operating_system_error_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(PermissionError(13, "Permission denied", "out.txt"))) == WRONG_INPUT
    assert capsys.readouterr() == ("", "error: out.txt: Permission denied\n")


def test_an_interruption_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "interrupted; run the same command again to go on\n")


@pytest.mark.parametrize("error", (RuntimeError("a defect"), OSError("no file involved")))
def test_defects_are_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        guarded(raising(error))


def test_a_reader_that_has_gone_ends_the_command_quietly() -> None:
    program = (
        "import sys; from abcrown_graft.cli.errors import guarded\n"
        "def command():\n    for _ in range(100_000):\n        print('a line that nobody reads')\n    return 0\n"
        "sys.exit(guarded(command))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"a line that nobody reads\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == FAILED


def test_an_error_of_the_system_without_a_file_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(OSError(28, "No space left on device"))) == WRONG_INPUT
    assert capsys.readouterr() == ("", "error: No space left on device\n")
