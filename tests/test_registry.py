from __future__ import annotations

import json.decoder

import pytest

from abcrown_graft.errors import AbcrownGraftError, ConfigError
from abcrown_graft.registry import About, OneOf, Registry, about_names, nearest


@pytest.fixture
def colours() -> Registry[int]:
    registry: Registry[int] = Registry("colour")
    for number, name in enumerate(["red", "green", "blue"]):
        registry.register(name)(number)
    return registry


def test_what_is_registered_is_found_under_its_name(colours):
    assert (colours["red"], colours["green"], colours["blue"]) == (0, 1, 2)
    assert "red" in colours and "pink" not in colours and 0 not in colours
    assert colours.names() == ("blue", "green", "red")


def test_the_decorator_leaves_its_target_as_it_is(colours):
    def paint() -> None: ...

    assert colours.register("paint")(paint) is paint


def test_a_second_entry_of_a_name_is_refused_and_the_first_stays(colours):
    with pytest.raises(ValueError, match="colour 'red' is registered twice; choose another name"):
        colours.register("red")(9)
    assert colours["red"] == 0


def test_an_unknown_name_is_answered_with_the_nearest_and_the_known_ones(colours):
    with pytest.raises(ConfigError) as close:
        colours["gren"]
    assert str(close.value) == "unknown colour 'gren'; did you mean 'green'? known: blue, green, red"
    with pytest.raises(ConfigError) as far:
        colours["xyz"]
    assert str(far.value) == "unknown colour 'xyz'; known: blue, green, red"
    assert isinstance(far.value, AbcrownGraftError)


def test_a_declared_entry_is_imported_when_it_is_asked_for():
    registry: Registry[object] = Registry("codec")
    registry.declare("json", "json.decoder:JSONDecoder", help="text", label="JSON", properties=["readable"])
    registry.declare("none", "no_such_module:x")
    assert registry.names() == ("json", "none") and "json" in registry
    assert registry.loaded() == ()
    assert registry.about("json") == About("text", "JSON", frozenset({"readable"}))
    assert registry.having("readable") == {"json"}
    assert registry["json"] is json.decoder.JSONDecoder
    assert registry.loaded() == (json.decoder.JSONDecoder,)
    with pytest.raises(ModuleNotFoundError):
        registry["none"]
    with pytest.raises(ValueError, match="codec 'json' is registered twice"):
        registry.register("json")(None)
    with pytest.raises(ConfigError, match="unknown codec 'jsn'; did you mean 'json'"):
        registry.about("jsn")


def test_names_of_several_collections_are_asked_anew(colours):
    names = OneOf(colours, ("blue", "none"))
    assert list(names) == ["red", "green", "blue", "none"] and len(names) == 4
    colours.register("pink", help="pale")(3)
    assert "pink" in names and list(names)[3] == "pink"
    assert about_names(names) == {"red": "", "green": "", "blue": "", "pink": "pale", "none": ""}
    assert about_names(("a",)) == {"a": ""}


def test_two_registries_share_nothing(colours):
    assert Registry("colour").names() == ()


@pytest.mark.parametrize(("name", "found"), [("epsilonn", "epsilon"), ("q", None), ("", None)])
def test_nearest(name, found):
    assert nearest(name, iter(["epsilon", "timeout"])) == found
