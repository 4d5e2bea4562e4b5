"""Several calls of learn(): parts go on where they were, though SB3 counts steps from 0 again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import EACH_ENGINE, PHASE, SaveAt, agent, differences, inside, life, live

from continual_arcade.agents import ContinualDQN
from continual_arcade.agents.methods import PARTS, make_part
from continual_arcade.agents.methods.best_return import BestReturn
from continual_arcade.agents.methods.clear import Clear
from continual_arcade.agents.methods.periodic import Periodic


class FromZero(ContinualDQN):
    """A mistake: the lifetime is counted by the steps of the last call."""

    _steps_before = property(lambda self: 0, lambda self, value: None)  # type: ignore[assignment]


MORE: dict[str, dict[str, Any]] = {"den": {"head_steps": 20}, "pt-dqn": {"updates": 5}}


@EACH_ENGINE
@pytest.mark.parametrize("name", [n for n, part in PARTS.items() if issubclass(part, Periodic)])
def test_what_is_due_is_done_in_the_second_call_too(name: str, engine: Any) -> None:
    def stands(kind: type[ContinualDQN], *calls: int) -> list[float]:
        part = make_part(name, {"every": 20, **MORE.get(name, {})})
        model = agent(part, engine=engine, kind=kind)
        for steps in calls:
            live(model, steps)
        return [getattr(part, number, 0) for number in ("last", "stage", "began")]

    in_one = stands(ContinualDQN, PHASE + 32)
    assert in_one[0] > PHASE + 8
    # Of the second one all steps are random: so nothing else may differ.
    assert stands(ContinualDQN, PHASE + 8, 24) == in_one
    assert stands(FromZero, PHASE + 8, 24) != in_one


@EACH_ENGINE
@pytest.mark.parametrize("kind", [ContinualDQN, FromZero])
def test_values_are_stored_in_the_second_call_too(engine: Any, kind: Any) -> None:
    model = agent(Clear(after=60), engine=engine, kind=kind, n_steps=1)
    live(live(model, 100), 40)
    known = np.isfinite(model.replay.columns["q_values"][:140]).all(1)
    assert bool(known[60:].all()) == (kind is ContinualDQN)
    assert not known[:60].any()


def test_earlier_networks_act_on_in_the_second_call() -> None:
    part = BestReturn(steps=80, trial=16)
    model = live(agent(part, n_steps=1), 2 * PHASE + 8)
    live(model, 32)
    assert part.tried.sum(0)[1] == 8  # what was random was no network's
    live(model, 36, reset_num_timesteps=False)
    assert (len(part.archive), part.began, part.chooses(model)) == (2, 2 * PHASE, True)
    live(model, 4, reset_num_timesteps=False)
    assert model.lifetime_step == 2 * PHASE + 80
    assert not part.chooses(model)


@pytest.mark.parametrize("lost", [False, True])
def test_the_second_call_is_resumed_with_the_same_bits(lost: bool, tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    model = live(agent(make_part("redo", {"every": 20, "tau": 0.5})), PHASE + 8)
    live(model, 80, callback=SaveAt(40, path))
    assert model.lifetime_step == model.env.env.clock.step == PHASE + 88  # type: ignore[union-attr]
    resumed = ContinualDQN.load(path, life(), "cpu")
    if lost:
        resumed._steps_before = 0
    live(resumed, 40, reset_num_timesteps=False)
    assert bool(list(differences(inside(model), inside(resumed)))) == lost


def test_a_call_that_cannot_begin_sets_nothing_back() -> None:
    model = live(agent(), 40)
    with pytest.raises(AttributeError):
        live(model, 40, callback=[None])
    assert (model.num_timesteps, model.lifetime_step) == (0, 40)
