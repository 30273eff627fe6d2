"""From `model.name` to a module: names, functions of the user, and what they can do wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from abcrown_graft.errors import ModelError
from abcrown_graft.model_defs import resnet
from abcrown_graft.models.build import build_model

NETS = """
import torch
from torch import nn
from abcrown_graft.errors import ModelError
from abcrown_graft.models.definitions import definition

def linear(inputs=2, outputs=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs))

@definition("digits_cnn", input_shape=(1, 2, 2), num_classes=3)
def decorated(outputs=3):
    return linear(4, outputs)

def a_dict(): return linear().state_dict()
def nothing(): pass
def faulty(): raise RuntimeError("first line\\nsecond line")
def faulty_too(): raise ModelError("too few pixels")
def interrupted(): raise KeyboardInterrupt
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    return tmp_path


def test_a_registered_name_gives_the_module_and_its_input_shape():
    model, input_shape = build_model("digits_cnn")
    assert input_shape == (1, 8, 8)
    assert model(torch.zeros(2, *input_shape)).shape == (2, 10)


def test_a_function_of_the_user_is_called_with_its_arguments(folder: Path):
    model, input_shape = build_model('Customized("nets.py", "linear", 4, outputs=5)', [folder])
    assert model(torch.zeros(1, 1, 2, 2)).shape == (1, 5)
    assert input_shape is None


def test_a_decorated_function_states_its_input_shape_unless_arguments_may_change_it(folder: Path):
    assert build_model('Customized("nets.py", "decorated")', [folder])[1] == (1, 2, 2)
    assert build_model('Customized("nets.py", "decorated", outputs=7)', [folder])[1] is None


def test_a_name_in_a_file_of_the_user_hides_no_registered_one(folder: Path):
    build_model('Customized("nets.py", "decorated")', [folder])
    assert build_model("digits_cnn")[1] == (1, 8, 8)


def test_the_working_directory_is_searched_too(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    assert isinstance(build_model('Customized("nets.py", "linear")')[0], nn.Module)


@pytest.mark.parametrize("times", (1, 2))
@pytest.mark.parametrize("name", ("cnn_b", "convhuge", "resnet_4b"))
def test_installed_definitions_are_usable_by_file_from_any_directory(
    name: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    file = "resnet" if name == "resnet_4b" else name
    for _ in range(times):
        model, input_shape = build_model(f'Customized("model_defs/{file}.py", "{name}", num_classes=4)')
    assert list(model.state_dict()) == list(build_model(name)[0].state_dict())
    assert list(model.parameters())[-1].shape == (4,) and input_shape is None


def test_installed_definitions_are_usable_as_a_module():
    model, _ = build_model('Customized("abcrown_graft.model_defs.resnet", "resnet_2b")')
    assert isinstance(model, resnet.ResNet)


WRONG_NAMES = {
    "cnn_c": r"unknown model definition 'cnn_c'; did you mean 'cnn_b'\? known: .*resnet_4b",
    "": "unknown model definition ''; known: ",
    'Customized("nets.py"': "malformed",
    'Customized("nets.py", "linear", outputs=open("x"))': "is not a literal",
    'Customized("net.py", "linear")': "net.py: no such file; looked in",
    'Customized("nets.py", "linaer")': "there is no function 'linaer'; did you mean 'linear'",
    'Customized("nets.py", "linear", width=3)': "the function raised TypeError: .* keyword argument 'width'",
    'Customized("nets.py", "a_dict")': "the function returned OrderedDict, expected torch.nn.Module",
    'Customized("nets.py", "nothing")': "the function returned NoneType, expected torch.nn.Module",
    'Customized("nets.py", "faulty")': "the function raised RuntimeError: first line$",
    'Customized("nets.py", "faulty_too")': "too few pixels$",
    'Customized("model_defs/cnn_b.py", "cnn_b", size=2)': "too few for a kernel of",
}


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_what_cannot_be_built_is_told_in_one_line_that_names_the_key(name: str, folder: Path):
    with pytest.raises(ModelError, match=WRONG_NAMES[name]) as caught:
        build_model(name, [folder])
    assert str(caught.value).startswith("model.name: ") and "\n" not in str(caught.value)


def test_an_interrupt_is_not_swallowed(folder: Path):
    with pytest.raises(KeyboardInterrupt):
        build_model('Customized("nets.py", "interrupted")', [folder])
