from __future__ import annotations

import pytest

from abcrown_graft.errors import FileFormatError
from abcrown_graft.formats.vnnlib.instances import Instance, Line, read_instances, read_lines, write_instances

FILES = ("onnx/a.onnx", "onnx/b, c.onnx", "vnnlib/p.vnnlib", "vnnlib/q.vnnlib.gz")


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(folder, text: str) -> list[Instance]:
    (folder / "instances.csv").write_bytes(text.encode())
    return read_instances(folder / "instances.csv")


def test_lines_quotes_and_blanks(folder):
    text = 'onnx/a.onnx,vnnlib/p.vnnlib,60\r\n\r\n"onnx/b, c.onnx", vnnlib/q.vnnlib.gz , 12.5\n'
    assert read(folder, text) == [
        Instance(folder / "onnx/a.onnx", folder / "vnnlib/p.vnnlib", 60.0),
        Instance(folder / "onnx/b, c.onnx", folder / "vnnlib/q.vnnlib.gz", 12.5),
    ]


def test_properties_alone(folder):
    assert read(folder, "vnnlib/p.vnnlib\nvnnlib/q.vnnlib.gz\n") == [
        Instance(None, folder / "vnnlib/p.vnnlib", None),
        Instance(None, folder / "vnnlib/q.vnnlib.gz", None),
    ]


def test_lines_are_read_though_their_files_are_missing(folder):
    (folder / "list.csv").write_text("\nno.onnx,no.vnnlib,7\n\nonnx/a.onnx,vnnlib/p.vnnlib,0.5\n")
    assert read_lines(folder / "list.csv") == [
        Line(2, "no.onnx", "no.vnnlib", 7.0),
        Line(4, "onnx/a.onnx", "vnnlib/p.vnnlib", 0.5),
    ]
    (folder / "list.csv").write_text("no.vnnlib\n")
    assert read_lines(folder / "list.csv") == [Line(1, None, "no.vnnlib", None)]


def test_a_plain_name_finds_the_compressed_file(folder):
    assert read(folder, "onnx/a.onnx,vnnlib/q.vnnlib,1")[0].vnnlib == folder / "vnnlib/q.vnnlib.gz"


def test_absolute_paths_stay(folder):
    assert read(folder, f"{folder / 'onnx/a.onnx'},vnnlib/p.vnnlib,1")[0].onnx == folder / "onnx/a.onnx"


GOOD = "onnx/a.onnx,vnnlib/p.vnnlib,60\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"instances\.csv: no instances"),
        ("\n\n", "no instances"),
        (GOOD + "\nonnx/x.onnx,vnnlib/p.vnnlib,60", r"instances\.csv:3: .*x\.onnx: no such file"),
        (GOOD + "onnx/a.onnx,vnnlib/x.vnnlib,60", r":2: .*x\.vnnlib: no such file"),
        ("onnx,vnnlib,timeout\n" + GOOD, r":1: the timeout 'timeout' is not a positive number of seconds"),
        ("onnx/a.onnx,vnnlib/p.vnnlib,soon", r":1: the timeout 'soon' is not a positive number of seconds"),
        ("onnx/a.onnx,vnnlib/p.vnnlib,", ":1: the timeout '' is not"),
        ("onnx/a.onnx,vnnlib/p.vnnlib,nan", ":1: the timeout 'nan' is not"),
        ("onnx/a.onnx,vnnlib/p.vnnlib,inf", ":1: the timeout 'inf' is not"),
        ("onnx/a.onnx,vnnlib/p.vnnlib,0", ":1: the timeout '0' is not"),
        ("onnx/a.onnx,vnnlib/p.vnnlib,-5", ":1: the timeout '-5' is not"),
        ("onnx/a.onnx,vnnlib/p.vnnlib", r":1: 2 columns; expected onnx,vnnlib,timeout or one vnnlib path"),
        (GOOD + "vnnlib/p.vnnlib", ":2: 1 columns where the first line has 3"),
        (",vnnlib/p.vnnlib,60", ":1: an empty path"),
        (GOOD + '"onnx/a.onnx', ":2: not CSV"),
        ("onnx/a\0.onnx,vnnlib/p.vnnlib,60", r"instances\.csv:[01]: "),
    ],
)
def test_wrong_lines_are_named(folder, text, message):
    with pytest.raises(FileFormatError, match=message):
        read(folder, text)


def test_no_list(folder):
    with pytest.raises(FileFormatError, match=r"none\.csv: no such file"):
        read_instances(folder / "none.csv")
    (folder / "binary.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match=r"binary\.csv: not a text file in UTF-8"):
        read_instances(folder / "binary.csv")


@pytest.mark.parametrize("timeout", [60.0, 0.1, 1e-3, 300.5])
def test_what_is_written_is_read_back(folder, timeout):
    instances = [Instance(folder / name, folder / "vnnlib/p.vnnlib", timeout) for name in FILES[:2]]
    write_instances(folder / "list.csv", instances)
    assert read_instances(folder / "list.csv") == instances


def test_the_text_by_hand(folder):
    write_instances(folder / "list.csv", [Instance(folder / FILES[1], folder / FILES[2], 60.0)])
    assert (folder / "list.csv").read_bytes() == b'"onnx/b, c.onnx",vnnlib/p.vnnlib,60\n'
    write_instances(folder / "onnx" / "list.csv", [Instance(None, folder / FILES[2], None)])
    assert (folder / "onnx" / "list.csv").read_bytes() == b"../vnnlib/p.vnnlib\n"


@pytest.mark.parametrize("rows", [[], [(True, False)], [(False, True)], [(True, True), (False, False)]])
def test_lists_of_mixed_lines_are_not_written(folder, rows):
    instances = [
        Instance(folder / FILES[0] if onnx else None, folder / FILES[2], 1.0 if timeout else None)
        for onnx, timeout in rows
    ]
    with pytest.raises(ValueError, match="all with a network and a timeout or all without"):
        write_instances(folder / "list.csv", instances)
