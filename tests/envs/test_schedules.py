"""A schedule is a pure function of the lifetime step, and travels as data."""

import json
import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schedules_of_games import CLASSIC, PAIRS

from continual_arcade.envs import (
    ArcadeEnv,
    ArcadeVectorEnv,
    Phase,
    PhaseSpec,
    Schedule,
    load,
    make_game,
    save,
    shipped,
)
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.envs.drawing.schedule import draw
from continual_arcade.envs.schedule_files import dumps, loads

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
params = st.dictionaries(names, st.floats(-1e6, 1e6), max_size=3)


@st.composite
def stretches(draw: Any) -> PhaseSpec:
    start = draw(params)
    until = {name: draw(st.floats(-1e6, 1e6)) for name in start} if draw(st.booleans()) else None
    return PhaseSpec(name=draw(names), steps=draw(st.integers(1, 1000)), params=start, until=until)


schedules = st.builds(Schedule, names, st.lists(stretches(), min_size=1, max_size=6).map(tuple))

EVERY_CLASSIC = pytest.mark.parametrize("game", CLASSIC)


@given(schedules, st.data())
def test_phases_get_one_length_or_one_each(schedule: Schedule, data: Any) -> None:
    count = len(schedule)
    each = data.draw(st.lists(st.integers(1, 99), min_size=count, max_size=count))
    longer = schedule.with_steps(each)
    assert [phase.steps for phase in longer.phases] == each
    assert longer.with_steps([phase.steps for phase in schedule.phases]) == schedule
    assert schedule.with_steps(7) == schedule.with_steps([7] * count)
    with pytest.raises(ValueError, match=f"has {count} phases, and steps = .* are {count + 1}"):
        schedule.with_steps([*each, 1])


def by_hand(schedule: Schedule, step: int) -> Phase:
    """The definition, one step at a time."""
    for index, stretch in enumerate(schedule.phases):
        if step < stretch.steps or index == len(schedule) - 1:
            fraction = min(1.0, step / stretch.steps)
            return Phase(index, stretch.name, stretch.params_at(fraction))
        step -= stretch.steps
    raise AssertionError


@given(schedules, st.integers(0, 8000))
def test_at_is_the_phase_that_a_count_finds(schedule: Schedule, step: int) -> None:
    ours, expected = schedule.at(step), by_hand(schedule, step)
    assert (ours.index, ours.name) == (expected.index, expected.name)
    assert ours.params == pytest.approx(expected.params)
    assert schedule.at(step) == ours


@given(schedules)
def test_phases_begin_and_end_where_they_say(schedule: Schedule) -> None:
    assert schedule.total_steps == sum(stretch.steps for stretch in schedule.phases)
    for index, end in enumerate(schedule.ends):
        assert schedule.at(end - 1).index == index
        assert schedule.at(end).index == min(index + 1, len(schedule) - 1)


@given(schedules, st.integers(0, 8000))
def test_the_next_boundary_is_the_first_one_to_come(schedule: Schedule, step: int) -> None:
    to_come = [boundary for boundary in schedule.boundaries if boundary > step]
    assert schedule.next_boundary(step) == (to_come[0] if to_come else None)
    assert set(schedule.boundaries) <= set(schedule.ends[:-1])


@given(schedules, st.sampled_from([".toml", ".json"]))
def test_a_schedule_survives_a_file(schedule: Schedule, suffix: str) -> None:
    again = loads(dumps(schedule, suffix), suffix)
    assert again == schedule
    assert again.fingerprint == schedule.fingerprint


@given(schedules, st.integers(1, 1000))
def test_the_fingerprint_sees_the_life_and_nothing_else(schedule: Schedule, more: int) -> None:
    renamed = Schedule(
        "another",
        tuple(
            PhaseSpec(name="x", steps=s.steps, params=s.params, until=s.until)
            for s in schedule.phases
        ),
    )
    assert renamed.fingerprint == schedule.fingerprint
    first, *rest = schedule.phases
    longer = PhaseSpec(
        name=first.name, steps=first.steps + more, params=first.params, until=first.until
    )
    assert Schedule(schedule.name, (longer, *rest)).fingerprint != schedule.fingerprint
    shifted = PhaseSpec(name=first.name, steps=first.steps, params={**first.params, "zz": 1.0})
    assert Schedule(schedule.name, (shifted, *rest)).fingerprint != schedule.fingerprint


def test_the_fingerprint_is_the_same_tomorrow() -> None:
    """It stands in the runs of others: a change of it needs a new format."""
    assert shipped("shrink", make_game("FlappyBird")).fingerprint == "2c93bd7f16b9add1"


@pytest.mark.parametrize(("game", "name"), PAIRS)
def test_shipped_schedules_suit_their_game(game: str, name: str) -> None:
    schedule = shipped(name, make_game(game))
    schedule.check(make_game(game).tunables)
    assert loads(dumps(schedule, ".toml"), ".toml") == schedule


def test_shrink_is_the_classic() -> None:
    flappy = shipped("shrink", make_game("FlappyBird"))
    assert [s.steps for s in flappy.phases] == [25_000] * 6
    assert [s.params for s in flappy.phases] == [{"gap": float(g)} for g in range(100, 74, -5)]
    catcher = shipped("shrink", make_game("Catcher"))
    assert [s.params for s in catcher.phases] == [
        {"fall_speed": float(speed)} for speed in range(20, 26)
    ]


@EVERY_CLASSIC
def test_the_other_schedules_are_what_they_are_called(game: str) -> None:
    made = make_game(game)
    shrink, grow, cycle, drift = (
        shipped(name, made) for name in ("shrink", "grow", "cycle", "drift")
    )
    values = [stretch.params for stretch in shrink.phases]
    assert [stretch.params for stretch in grow.phases] == values[::-1]
    first = [i for i, stretch in enumerate(cycle.phases) if stretch.params == values[0]]
    assert first == [0, 3, 6]  # back to the first phase, twice
    shuffles = [[s.params for s in shipped(f"shuffle:{seed}", made).phases] for seed in range(9)]
    assert all(sorted(map(str, order)) == sorted(map(str, values)) for order in shuffles)
    assert len({str(order) for order in shuffles}) > 6
    assert drift.boundaries == ()
    assert drift.at(0).params == values[0]
    assert drift.at(drift.total_steps).params == pytest.approx(values[-1])
    steps = [next(iter(drift.at(step).params.values())) for step in range(0, 150_001, 30)]
    assert max(abs(b - a) for a, b in pairwise(steps)) < 0.01


def test_a_schedule_asks_for_nothing_random() -> None:
    """Asking never changes the answer, in whatever order it is asked."""
    schedule = shipped("drift", make_game("FlappyBird"))
    forwards = [schedule.at(step) for step in range(0, 150_000, 1_000)]
    backwards = [schedule.at(step) for step in reversed(range(0, 150_000, 1_000))]
    assert forwards == backwards[::-1]


def test_a_phase_that_moves_is_frozen_at_its_middle() -> None:
    schedule = Schedule("s", (PhaseSpec(name="r", steps=10, params={"a": 1.0}, until={"a": 3.0}),))
    assert schedule.frozen(0).params == {"a": 2.0}
    assert schedule.frozen("r") == schedule.frozen(0)


def test_phases_that_come_back_are_played_once() -> None:
    cycle = shipped("cycle", make_game("FlappyBird"))
    assert [phase.index for phase in cycle.distinct] == [0, 1, 2]
    assert [cycle.replayed_as(index) for index in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_a_drift_into_a_rest_has_no_boundary_and_a_jump_has() -> None:
    ramp = PhaseSpec(name="ramp", steps=10, params={"a": 1.0}, until={"a": 2.0})
    rest = PhaseSpec(name="rest", steps=10, params={"a": 2.0})
    jump = PhaseSpec(name="jump", steps=10, params={"a": 5.0})
    assert Schedule("s", (ramp, rest, jump, jump)).boundaries == (20, 30)


WIDE = st.floats(-1e3, 1e3)


@given(WIDE, WIDE, st.integers(1, 10**6), st.data())
def test_a_drift_ends_where_it_says_and_never_leaves_its_way(
    begin: float, end: float, steps: int, data: Any
) -> None:
    spec = PhaseSpec(name="drift", steps=steps, params={"a": begin}, until={"a": end})
    schedule = Schedule("s", (spec,))
    assert schedule.at(0).params["a"] == begin
    for after in (steps, steps + 1, 3 * steps):
        assert schedule.at(after).params["a"] == end
    step = data.draw(st.integers(0, steps))
    value = schedule.at(step).params["a"]
    assert min(begin, end) <= value <= max(begin, end)
    exact = Fraction(begin) + Fraction(step, steps) * (Fraction(end) - Fraction(begin))
    assert abs(Fraction(value) - exact) <= 4 * Fraction(math.ulp(max(abs(begin), abs(end), 1.0)))


def test_a_fraction_next_to_the_end_is_not_beyond_it() -> None:
    """What is rounded at the end itself, which is over it often, is not rounded there."""
    rng = np.random.default_rng(0)
    nearly = 1.0 - 2.0**-53
    over = 0
    ends = rng.uniform(-1.0, 1.0, (20_000, 2)) * 10.0 ** rng.integers(-9, 9, (20_000, 2))
    for begin, end in ends.tolist():
        low, high = sorted((begin, end))
        over += not low <= begin + 1.0 * (end - begin) <= high
        spec = PhaseSpec(name="drift", steps=1, params={"a": begin}, until={"a": end})
        assert low <= spec.params_at(nearly)["a"] <= high
    assert over > 100  # else this would have found nothing


@given(st.lists(WIDE, min_size=2, max_size=5))
def test_phases_that_go_on_where_the_last_one_ended_have_no_boundary(values: list[float]) -> None:
    """Whatever rounding makes of the way: 0.052 until 0.02 ended at 0.019999999999999997."""
    for ways in (values, [0.052, 0.02, 0.3]):
        drifts = [
            PhaseSpec(name="x", steps=9, params={"a": begin}, until={"a": end})
            for begin, end in pairwise(ways)
        ]
        rest = PhaseSpec(name="rest", steps=9, params={"a": ways[-1]})
        assert Schedule("s", (*drifts, rest)).boundaries == ()
        jump = PhaseSpec(name="jump", steps=9, params={"a": math.nextafter(ways[-1], 1e9)})
        assert Schedule("s", (*drifts, jump)).boundaries == (9 * len(drifts),)


TO_A_BOUND = Schedule(
    "ice",
    (PhaseSpec(name="freezing", steps=400, params={"friction": 0.052}, until={"friction": 0.02}),),
)


def test_a_drift_to_a_bound_can_be_played_to_its_end() -> None:
    game = make_game("Catcher")
    TO_A_BOUND.interleaved(16).check(game.tunables)
    single = ArcadeEnv("Catcher", TO_A_BOUND)
    single.reset(seed=0)
    for _ in range(402):
        if single.step(0)[2]:
            single.reset()
    assert single.reset()[1]["params"]["friction"] == 0.02
    many = ArcadeVectorEnv("Catcher", 4, 3, TO_A_BOUND)
    many.reset(seed=0)
    for _ in range(102):
        *_, infos = many.step(np.zeros(4, np.int64))
    assert infos["params"]["friction"].tolist() == [0.02] * 4


@EVERY_CLASSIC
def test_shipped_drifts_have_the_bits_that_they_always_had(game: str) -> None:
    """Those of the published runs: begin + fraction (end - begin), as it is rounded."""
    schedule = shipped("drift", make_game(game))
    for step in range(0, schedule.total_steps, 7):
        index, passed = divmod(step, 25_000)
        spec = schedule.phases[index]
        assert spec.until is not None
        fraction = 1.0 - (25_000 - passed) / 25_000
        assert schedule.at(step).params == {
            name: value + fraction * (spec.until[name] - value)
            for name, value in spec.params.items()
        }


def test_phases_are_told_apart_by_the_whole_of_their_way() -> None:
    """What an agent is evaluated by is the middle alone."""

    def phase(begin: float, end: float | None = None) -> PhaseSpec:
        until = None if end is None else {"gap": end}
        return PhaseSpec(name="x", steps=10, params={"gap": begin}, until=until)

    # There, back, at rest in the middle; each of them again; and one that moves nowhere.
    schedule = Schedule(
        "s",
        (
            *(phase(140.0, 60.0), phase(60.0, 140.0), phase(100.0)),
            *(phase(100.0), phase(60.0, 140.0), phase(140.0, 60.0)),
            *(phase(100.0, 100.0), phase(140.0), phase(140.0, 60.5)),
        ),
    )
    assert schedule.places == (0, 1, 2, 2, 1, 0, 2, 3, 4)
    assert [phase.index for phase in schedule.told] == [0, 1, 2, 7, 8]
    assert [phase.params["gap"] for phase in schedule.told] == [100.0, 100.0, 100.0, 140.0, 100.25]
    assert [phase.index for phase in schedule.distinct] == [0, 7, 8]
    assert [schedule.replayed_as(index) for index in range(9)] == [0, 0, 0, 0, 0, 0, 0, 7, 8]


def test_a_fingerprint_is_that_of_what_is_written() -> None:
    """Equal ones mean the same parameters at every step; other ones do not mean others."""
    rest = PhaseSpec(name="rest", steps=10, params={"a": 1.0})
    still = PhaseSpec(name="still", steps=10, params={"a": 1.0}, until={"a": 1.0})
    one, other = Schedule("s", (rest,)), Schedule("s", (still,))
    assert [one.at(step).params for step in range(12)] == [{"a": 1.0}] * 12
    assert [other.at(step).params for step in range(12)] == [{"a": 1.0}] * 12
    assert one.fingerprint != other.fingerprint


def test_the_table_says_it_all() -> None:
    text = str(shipped("drift", make_game("Catcher")))
    assert "150,000 steps" in text
    assert "fall_speed = 20 until 20.8333" in text
    assert len(text.splitlines()) == 8


@pytest.mark.parametrize("name", ["shrink", "conflict", "drift"])
def test_a_schedule_draws_itself(tmp_path: Path, name: str) -> None:
    path = tmp_path / "schedule.png"
    draw(shipped(name, make_game("FlappyBird")), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_save_never_overwrites(tmp_path: Path) -> None:
    schedule = shipped("grow", make_game("Catcher"))
    path = tmp_path / "grow.toml"
    save(schedule, path)
    assert load(path) == schedule
    with pytest.raises(FileExistsError):
        save(schedule, path)
    with pytest.raises(ValueError, match=r"\.yaml"):
        save(schedule, tmp_path / "grow.yaml")


GOOD = {"format": 1, "name": "x", "phases": [{"name": "a", "steps": 5, "params": {"gap": 90.0}}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "update continual-arcade"),
        ({"format": None}, "says None, so it is no schedule"),
        ({"phases": []}, "no phase"),
        ({"phases": "many"}, "must be a list of tables"),
        ({"fases": []}, "did you mean 'phases'"),
        ({"phases": [{"name": "a"}]}, "how many steps"),
        ({"phases": [{"steps": 0}]}, "steps = 0"),
        ({"phases": [{"steps": -4}]}, "steps = -4"),
        ({"phases": [{"steps": 2.5}]}, "steps = 2.5"),
        ({"phases": [{"steps": True}]}, "steps = True"),
        ({"phases": [{"steps": 5, "param": {}}]}, "did you mean 'params'"),
        ({"phases": [{"steps": 5, "params": {"gap": float("nan")}}]}, "gap = nan"),
        ({"phases": [{"steps": 5, "params": [1]}]}, "must be a table"),
        ({"phases": [{"steps": 5, "params": {"gap": 90}, "until": {"gravity": 1}}]}, "same param"),
    ],
)
def test_data_that_are_no_schedule(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule.from_dict({**GOOD, **change})


def test_values_that_are_no_numbers() -> None:
    data = {**GOOD, "phases": [{"steps": 5, "params": {"gap": "wide"}}]}
    with pytest.raises(TypeError, match="gap = 'wide'"):
        Schedule.from_dict(data)


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        (".toml", "format = 1\nphases = [", "broken.toml: not readable as TOML"),
        (".json", '{"format": 1', "broken.json: not readable as JSON"),
        (".json", "[1, 2]", "a schedule is a table, not list"),
        (".toml", "format = 9", "broken.toml: the schedule has format 9"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, suffix: str, text: str, message: str) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shrnk", "did you mean 'shrink'"),
        ("shuffle:x", "whole number"),
        ("grow:3", "takes no argument"),
        ("", "unknown schedule ''"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shipped(name, make_game("FlappyBird"))


def test_shipped_schedules_are_for_the_field_they_were_made_for() -> None:
    with pytest.raises(ValueError, match="640x640"):
        shipped("shrink", make_game("Catcher", size=(64, 64)))


def test_a_schedule_for_another_game_is_refused() -> None:
    catcher = shipped("shrink", make_game("Catcher"))
    with pytest.raises(ValueError, match="unknown parameter 'fall_speed'"):
        catcher.check(make_game("FlappyBird").tunables)
    narrow = Schedule("s", (PhaseSpec(name="narrow", steps=5, params={"gap": 20.0}),))
    with pytest.raises(ValueError, match=r"phase 'narrow'.*no bird fits through"):
        narrow.check(make_game("FlappyBird").tunables)


def test_a_schedule_may_be_given_in_many_ways(tmp_path: Path) -> None:
    game = make_game("FlappyBird")
    schedule = shipped("shrink", game)
    path = tmp_path / "s.json"
    path.write_text(json.dumps(schedule.to_dict()))
    for given_as in (schedule, "shrink", schedule.to_dict(), path, str(path)):
        assert as_schedule(given_as, game) == schedule
    assert len(as_schedule(None, game)) == 1
    with pytest.raises(TypeError, match="not 5"):
        as_schedule(5, game)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        as_schedule("missing.toml", game)


def test_phases_by_index_and_name() -> None:
    schedule = shipped("shrink", make_game("FlappyBird"))
    assert schedule.frozen("gap 90").index == 2
    for wrong, message in ((6, "phases 0 to 5"), (-1, "phases 0 to 5"), ("gap 91", "did you mean")):
        with pytest.raises(ValueError, match=message):
            schedule.frozen(wrong)
    for no_phase in (1.5, None, True):
        with pytest.raises(TypeError, match="an index or a name"):
            schedule.frozen(no_phase)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        schedule.at(-1)


@given(schedules, st.data())
def test_a_single_phase_is_lived_as_in_the_whole_life(schedule: Schedule, data: Any) -> None:
    index = data.draw(st.integers(0, len(schedule) - 1))
    alone = schedule.single(index)
    start = schedule.ends[index] - schedule.phases[index].steps
    assert alone.name == f"{schedule.name}-{index}"
    assert alone.total_steps == schedule.phases[index].steps
    assert alone.boundaries == ()
    assert alone.frozen(0).params == schedule.frozen(index).params
    for step in {0, alone.total_steps // 2, alone.total_steps - 1}:
        assert alone.at(step).params == pytest.approx(schedule.at(start + step).params)


def test_a_single_phase_is_chosen_by_index_or_name() -> None:
    schedule = shipped("shrink", make_game("FlappyBird"))
    assert schedule.single("gap 90") == schedule.single(2)
    with pytest.raises(ValueError, match="phases 0 to 5"):
        schedule.single(6)
    with pytest.raises(ValueError, match="did you mean"):
        schedule.single("gap 91")


@given(schedules, st.integers(1, 3000))
def test_interleaved_phases_have_as_many_steps_as_one_after_the_other(
    schedule: Schedule, turn: int
) -> None:
    mixed = schedule.interleaved(turn)
    assert mixed.total_steps == schedule.total_steps
    rounds, rest = divmod(len(mixed), len(schedule))
    assert rest == 0
    for index, stretch in enumerate(schedule.phases):
        pieces = mixed.phases[index :: len(schedule)]
        assert len(pieces) == rounds
        assert {piece.name for piece in pieces} == {stretch.name}
        assert sum(piece.steps for piece in pieces) == stretch.steps
        # Its pieces join to what it was.
        assert pieces[0].params == stretch.params_at(0.0)
        if stretch.until is None:
            assert all((piece.params, piece.until) == (stretch.params, None) for piece in pieces)
        else:
            assert all(one.until == other.params for one, other in pairwise(pieces))
            assert pieces[-1].until == stretch.params_at(1.0)
        begun = 0
        for piece in pieces:
            assert piece.params == stretch.params_at(begun / stretch.steps)
            begun += piece.steps


def test_turns_are_about_as_long_as_they_are_asked_for() -> None:
    schedule = shipped("conflict", make_game("Catcher")).with_steps(25_000)
    turns = {piece.steps for piece in schedule.interleaved(2_000).phases}
    assert turns == {2_083, 2_084}
    whole = schedule.interleaved(10**9)
    assert whole.fingerprint == schedule.fingerprint
    with pytest.raises(ValueError, match="turn = 0 must be a whole number, at least 1"):
        schedule.interleaved(0)


def test_colours_are_written_as_colours() -> None:
    night = PhaseSpec(name="night", steps=5, params={"sky_rgb": 0x102040, "gap": 90.0})
    text = str(Schedule("looks", (night,)))
    assert "sky_rgb = #102040, gap = 90" in text
    assert "e+" not in text
