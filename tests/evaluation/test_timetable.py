"""When an agent is evaluated: against lists written by hand, and by walking through every step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import gaps

from continual_arcade.envs import PhaseSpec, Schedule
from continual_arcade.evaluation import Timetable
from continual_arcade.evaluation.timetable import BEFORE


def test_by_hand() -> None:
    due = Timetable(gaps(100, 90), every=30, at_end=2, spacing=15).due
    assert due == (
        *((0, -1), (30, 0), (60, 0), (85, 0), (90, 0), (100, 0)),
        *((130, 1), (160, 1), (185, 1), (190, 1), (200, 1)),
    )
    assert Timetable(gaps(100, 90)).due == ((0, -1), (100, 0), (200, 1))


def test_a_phase_too_short_has_fewer() -> None:
    assert Timetable(gaps(100, 90), at_end=5, spacing=40).due == (
        *((0, -1), (20, 0), (60, 0), (100, 0)),
        *((120, 1), (160, 1), (200, 1)),
    )


schedules = st.builds(
    lambda steps: Schedule("s", tuple(PhaseSpec(name=str(n), steps=n) for n in steps)),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
)


@given(schedules, st.integers(0, 20), st.integers(1, 4), st.integers(1, 12))
def test_next_and_last_agree_with_the_list(
    schedule: Schedule, every: int, at_end: int, spacing: int
) -> None:
    timetable = Timetable(schedule, every, at_end, spacing)
    steps = [due.step for due in timetable.due]
    assert steps == sorted(set(steps))
    for step in range(schedule.total_steps + 1):
        assert timetable.last_until(step) == max(due for due in timetable.due if due.step <= step)
        later = [due for due in steps if due > step]
        if later:
            assert timetable.next_after(step) == min(later)
    for due in timetable.due[1:]:
        assert schedule.index_at(due.step - 1) == due.stage
    for stage, end in enumerate(schedule.ends):
        of_stage = [due.step for due in timetable.due if due.stage == stage]
        back = [end - n * spacing for n in range(at_end)]
        assert of_stage[-1] == end
        start = end - schedule.phases[stage].steps
        assert {step for step in back if step > start} <= set(of_stage)


def test_the_last_phase_never_ends() -> None:
    timetable = Timetable(gaps(100, 90), every=30)
    assert timetable.next_after(200) == 220
    assert timetable.next_after(219) == 220
    assert timetable.next_after(220) == 250
    assert timetable.last_until(219) == (200, 1)
    assert timetable.last_until(220) == (220, 1)
    assert timetable.last_until(1_000) == (1_000, 1)
    assert Timetable(gaps(100, 90)).next_after(200) is None
    assert Timetable(gaps(100, 90)).last_until(1_000) == (200, 1)


@pytest.mark.parametrize("name", ["every", "at_end", "spacing"])
def test_numbers_must_make_sense(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} = -1 must"):
        Timetable(gaps(100), **{name: -1})
    with pytest.raises(ValueError, match="lifetime step -1"):
        Timetable(gaps(100)).last_until(-1)


@given(schedules, st.integers(0, 150))
def test_an_agent_belongs_to_the_phase_of_its_last_step(schedule: Schedule, step: int) -> None:
    stages = [stage for stage, s in enumerate(schedule.phases) for _ in range(s.steps)]
    stages += [len(schedule) - 1] * 150
    expected = BEFORE if step == 0 else stages[step - 1]
    assert Timetable(schedule).stage_of(step) == expected


@given(schedules, st.integers(0, 20), st.integers(1, 4), st.integers(1, 12), st.integers(1, 8))
def test_an_agent_evaluated_late_belongs_to_what_was_due(
    schedule: Schedule, every: int, at_end: int, spacing: int, num_envs: int
) -> None:
    """As the callback has it: at each step of the environments, the last that was due."""
    timetable = Timetable(schedule, every, at_end, spacing)
    last = timetable.last_until(0)
    for step in range(num_envs, schedule.total_steps + 1, num_envs):
        due = timetable.last_until(step)
        if due != last:
            last = due
            assert timetable.stage_of(step, late=num_envs) == due.stage


def test_without_knowing_that_environments_step_together_it_would_be_of_the_next() -> None:
    timetable = Timetable(gaps(100, 90))
    assert timetable.stage_of(103, late=8) == 0
    assert timetable.stage_of(103) == 1
    with pytest.raises(ValueError, match="step -1 is negative"):
        timetable.stage_of(-1)
