"""What dictionaries and lists hold is compared object by object, whatever happens to them."""

import copy
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from changed_sources import changed_copy
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from continual_arcade.agents.engines import same
from continual_arcade.agents.engines.compilation import Entry
from continual_arcade.agents.engines.same import Same
from continual_arcade.agents.kernels import held


class Thing:
    """Has attributes."""


class World:
    """Some of everything that is compared."""

    def __init__(self) -> None:
        self.thing = Thing()
        self.thing.__dict__.update(a=[1], b=[2], c=None)
        self.table: dict[str, Any] = {"x": [1], "y": [1], "z": None}
        self.ordered = OrderedDict(x=[1], y=[2])
        self.filling: Any = defaultdict(list, {0: [0]})
        self.empty: dict[str, Any] = {}
        self.sized: dict[str, Any] = {"x": 1}
        self.things = [[1], [1], None]
        self.none: list[Any] = []

    def taken(self) -> Same:
        """Return what it is now."""
        found = Same()
        found.attributes(self.thing, ("a", "b", "missing"))
        for table in (self.table, self.ordered, self.filling, self.empty):
            found.values(table)
        found.size(self.sized, 1)
        found.items(self.things)
        found.items(self.none)
        return found


def set_sized(world: World) -> None:
    world.sized["x"] = 2


def set_other_attribute(world: World) -> None:
    world.thing.__dict__["c"] = 3


def ask(world: World) -> None:
    world.filling.get(1)
    world.table.setdefault("x", 5)


def put_back(world: World) -> None:
    value = world.table["x"]
    world.table["x"] = 0
    world.table["x"] = value


def within(world: World) -> None:
    world.table["x"].append(2)


UNSEEN = (set_sized, set_other_attribute, ask, put_back, within)


CHANGES: dict[str, Callable[[World], object]] = {
    "an attribute is equal, and another": lambda w: setattr(w.thing, "a", [1]),
    "an attribute goes": lambda w: delattr(w.thing, "b"),
    "an attribute comes": lambda w: setattr(w.thing, "missing", None),
    "attributes are exchanged as a whole": lambda w: setattr(
        w.thing, "__dict__", {**vars(w.thing), "a": [1]}
    ),
    "attributes change places": lambda w: w.thing.__dict__.update(
        a=w.thing.__dict__["b"], b=w.thing.__dict__["a"]
    ),
    "a value is equal, and another": lambda w: w.table.update(y=[1]),
    "a value goes": lambda w: w.table.pop("z"),
    "a value goes from the front": lambda w: w.table.pop("x"),
    "a value comes": lambda w: w.table.update(v=None),
    "values change places": lambda w: w.table.update(x=w.table["y"], y=w.table["x"]),
    "a value of an ordered one is another": lambda w: w.ordered.update(y=[2]),
    "one fills itself": lambda w: w.filling[1],
    "an empty one is filled": lambda w: w.empty.update(x=None),
    "a size grows": lambda w: w.sized.update(y=1),
    "a size falls": lambda w: w.sized.clear(),
    "an item is equal, and another": lambda w: w.things.__setitem__(1, [1]),
    "items change places": lambda w: w.things.reverse(),
    "an item comes": lambda w: w.things.append(None),
    "an item goes": lambda w: w.things.pop(),
    "an empty list is filled": lambda w: w.none.append(None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_seen(name: str) -> None:
    world = World()
    taken = world.taken()
    assert taken.holds()
    CHANGES[name](world)
    assert not taken.holds()


@pytest.mark.parametrize("do", UNSEEN)
def test_what_is_as_it_was_is_the_same(do: Callable[[World], None]) -> None:
    world = World()
    taken = world.taken()
    do(world)
    assert taken.holds()


def test_nothing_that_was_taken_can_be_replaced_where_it_lay() -> None:
    for _ in range(200):
        world = World()
        taken = world.taken()
        world.things[0] = None
        world.things[0] = [1]  # it would lie where the last one did
        assert not taken.holds()


def test_nothing_is_the_same_as_nothing_and_more_may_be_taken_later() -> None:
    taken, things = Same(), [1]
    assert taken.holds()
    taken.items(things)
    assert taken.holds()
    things.append(2)
    assert not taken.holds()


@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=3, unique=True))
def test_it_says_what_python_says(names: list[str]) -> None:
    world = World()
    taken, before = world.taken(), _seen(world)
    for name in names:
        # Another change may have been in the way.
        with suppress(KeyError, IndexError, AttributeError):
            CHANGES[name](world)
    assert taken.holds() == (_seen(world) == before)


def _seen(world: World) -> Any:
    """Return what is compared, by the identity of each object."""
    own, missing = vars(world.thing), object
    tables = (world.table, world.ordered, world.filling, world.empty)
    return (
        [id(own.get(name, missing)) for name in ("a", "b", "missing")],
        [[*map(id, dict.values(table))] for table in tables],
        len(world.sized),
        [[*map(id, things)] for things in (world.things, world.none)],
    )


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("name", "old", "new", "unseen"),
    [
        ("entries", "!= entries[i, 2]", "== 1", "an attribute is equal, and another"),
        ("values", "!= given.values[at]", "== 1", "a value is equal, and another"),
        ("ends", "!= given.ends[i] - at", "== -1", "a value comes"),
        ("sizes", "!= sized[i, 1]", "== -1", "a size grows"),
        ("items", "!= given.list_values[at + k]", "== 1", "an item is equal, and another"),
        ("lists", "!= given.list_ends[i] - at", "== -1", "an item comes"),
    ],
)
def test_a_comparison_that_is_left_out_is_found(
    name: str, old: str, new: str, unseen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = changed_copy(held, tmp_path, monkeypatch, name, (old, new))
    entry = Entry(njit(error_model="numpy", inline="always")(wrong.holds), "planted")
    monkeypatch.setattr(same, "_entry", lambda: entry)
    world = World()
    taken = world.taken()
    CHANGES[unseen](world)
    assert taken.holds()


def test_it_is_not_copied() -> None:
    with pytest.raises(TypeError, match="addresses"):
        copy.deepcopy(World().taken())
