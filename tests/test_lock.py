"""One process at a time writes a file; the operating system ends the lock of one that is gone."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest
from other_process import holding

from abcrown_graft import lock
from abcrown_graft.errors import OutputError, SettingsDifferError
from abcrown_graft.lock import in_use, lock_file


def lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def test_another_process_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.txt"
    with holding(path) as other:
        told = rf"new/out\.txt: process {other.pid} on \S+ is writing to it; wait for it, or name another"
        with pytest.raises(SettingsDifferError, match=told), in_use(path, "name another"):
            pass
        other.communicate("")
    with in_use(path, "name another"):
        assert lock_of(path).read_text().startswith(f"process {os.getpid()} on ")
    assert list(path.parent.iterdir()) == []


def test_the_number_of_a_process_is_not_believed(tmp_path: Path) -> None:
    """Another container has processes of the same numbers."""
    path = tmp_path / "out.txt"
    with holding(path):
        lock_of(path).write_text("1\n")
        with pytest.raises(SettingsDifferError, match="is writing to it"), in_use(path, "wait"):
            pass
    lock_of(path).write_text(f"{os.getppid()}\n")
    with in_use(path, "wait"):
        pass


def test_what_a_killed_process_leaves_locks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with holding(path) as other:
        other.kill()
        other.wait()
        assert lock_of(path).exists()
        with in_use(path, "wait"):
            pass
    assert not lock_of(path).exists()


def test_one_process_has_a_file_once(tmp_path: Path) -> None:
    with in_use(tmp_path / "out.txt", "wait"):
        with pytest.raises(SettingsDifferError), in_use(tmp_path / "out.txt", "wait"):
            pass
        with in_use(tmp_path / "other.txt", "wait"):
            pass
        assert lock_of(tmp_path / "out.txt").exists()


def test_an_error_inside_ends_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), in_use(tmp_path / "out.txt", "wait"):
        raise KeyboardInterrupt
    with in_use(tmp_path / "out.txt", "wait"):
        pass


def test_a_lock_file_that_its_owner_removes_meanwhile_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opens the file just before its owner removes it would have locked a file without a name."""
    path, whole = tmp_path / "a.lock", fcntl.flock
    path.touch()

    def remove_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", whole)
        path.unlink()
        whole(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    descriptor = lock_file(path)
    assert descriptor is not None
    assert lock_file(path) is None
    os.close(descriptor)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    told = r"out\.txt: cannot be locked, its file system has no locks \(.+\); write to another one"
    with pytest.raises(OutputError, match=told), in_use(tmp_path / "out.txt", "wait"):
        pass


def test_a_folder_that_cannot_be_written_to_is_told_by_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "made-up name")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError) as caught, in_use(tmp_path / "out.txt", "wait"):
        pass
    assert caught.value.filename == str(tmp_path / "out.txt")


def test_a_pipe_in_the_way_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.txt.lock")
    with in_use(tmp_path / "out.txt", "wait"):
        pass
