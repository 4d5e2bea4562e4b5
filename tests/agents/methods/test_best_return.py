"""Earlier networks act at the start of a phase: exactly as they were, and the best of them most."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tiny import CONFLICT, NUM_ENVS, PHASE, SaveAt, agent, differences, inside, life, live

from continual_arcade.agents import ContinualDQN
from continual_arcade.agents.methods.base import Part
from continual_arcade.agents.methods.best_return import BestReturn
from continual_arcade.envs.context import HIDDEN


class Watch(Part):
    """Remembers what was seen and done; where a phase ends the network becomes a random one."""

    name: ClassVar[str] = "watch"

    def __init__(self) -> None:
        self.seen: list[tuple[int, np.ndarray, np.ndarray]] = []
        self.networks: list[list[np.ndarray]] = []

    def phase_end(self, learner: Any, phase: int) -> None:
        # What was learnt in so few steps does the same everywhere.
        draws = torch.Generator().manual_seed(phase)
        with torch.no_grad():
            for tensor in learner.q_net.parameters():
                tensor.copy_(torch.randn(tensor.shape, generator=draws))
        self.networks.append(
            [tensor.detach().numpy().copy() for tensor in learner.q_net.parameters()]
        )

    def completed(self, learner: Any, transitions: Any) -> None:
        self.seen.append(
            (learner.num_timesteps, transitions.observations.copy(), transitions.actions.ravel())
        )

    def between_steps(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what was seen and done up to a step, after another one."""
        rows = [(o, a) for step, o, a in self.seen if first < step <= last]
        return np.concatenate([o for o, _ in rows]), np.concatenate([a for _, a in rows])


def greedy(network: list[np.ndarray], observations: np.ndarray) -> np.ndarray:
    """The best actions, by hand: two linear layers with a ReLU between them."""
    inner, inner_bias, outer, outer_bias = network
    hidden = np.maximum(observations @ inner.T + inner_bias, 0)
    return (hidden @ outer.T + outer_bias).argmax(1)


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_an_archive_of_one_acts_exactly_as_it_did(engine: str) -> None:
    watch = Watch()
    model = agent(watch, BestReturn(steps=60), engine=engine, n_steps=1)
    live(model, 2 * PHASE)
    seen, done = watch.between_steps(PHASE, PHASE + 60)
    assert len(seen) == 60
    assert (done == greedy(watch.networks[0], seen)).all()
    # A planted error: the network as it is now would have acted otherwise.
    now = [tensor.detach().numpy() for tensor in model.q_net.parameters()]
    assert (done != greedy(now, seen)).any()
    # Afterwards the agent itself acts, and explores.
    seen, done = watch.between_steps(PHASE + 60, 2 * PHASE)
    assert (done != greedy(watch.networks[0], seen)).any()


def test_each_is_tried_and_the_best_acts_on() -> None:
    watch = Watch()
    part = BestReturn(steps=80, trial=16)
    model = agent(watch, part, n_steps=1)
    live(model, 2 * PHASE + 32)
    for network, first in zip(watch.networks, (2 * PHASE, 2 * PHASE + 16), strict=True):
        seen, done = watch.between_steps(first, first + 16)
        assert (done == greedy(network, seen)).all()
    # Each was tried for 16 transitions. Whoever earned more acts on, here against what it earned.
    assert part.tried[:, 1].tolist() == [16, 16]
    for better in (0, 1):
        part.tried[:, 0] = [1, 2] if better else [2, 1]
        start = model.num_timesteps
        live(model, 16, reset_num_timesteps=False)
        seen, done = watch.between_steps(start, start + 16)
        assert (done == greedy(watch.networks[better], seen)).all()
        assert (done != greedy(watch.networks[1 - better], seen)).any()


def test_trials_take_at_most_half_of_the_steps() -> None:
    watch = Watch()
    part = BestReturn(steps=32, trial=1_000)
    live(agent(watch, part, n_steps=1), 2 * PHASE + 40)
    assert part.tried[:, 1].tolist() == [8, 8]
    assert part.acting == -1


def test_the_mean_reward_counts_and_of_equals_the_newest() -> None:
    part = BestReturn()
    part.tried = np.array([[6.0, 6], [4.0, 2], [4.0, 2], [0.0, 0]])
    assert part.best == 2
    # One that was not tried has not earned 0.
    part.tried = np.array([[-6.0, 4], [0.0, 0], [-6.0, 3]])
    assert part.best == 0
    part.tried = np.zeros((3, 2))
    assert part.best == 2


@pytest.mark.parametrize("at", [PHASE + 20, 2 * PHASE + 12])
def test_it_goes_on_in_the_middle_of_a_trial(at: int, tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    model = agent(BestReturn(steps=60, trial=16))
    live(model, callback=SaveAt(at, path))
    loaded = ContinualDQN.load(path, life(), "cpu")
    assert len(loaded.parts[0].archive) == at // PHASE  # type: ignore[attr-defined]
    live(loaded, model.num_timesteps - loaded.num_timesteps, reset_num_timesteps=False)
    assert not list(differences(inside(loaded), inside(model)))


@pytest.mark.parametrize("damage", ["archive", "tried"])
def test_a_damaged_archive_is_refused(damage: str, tmp_path: Path) -> None:
    model = live(agent(BestReturn(steps=60)), PHASE + 40)
    model.parts[0].__dict__[damage] = np.zeros((1, 3), getattr(model.parts[0], damage).dtype)
    path = tmp_path / "damaged.zip"
    with pytest.raises(ValueError, match=damage):
        ContinualDQN.load(saved(model, path), life(), "cpu")


def saved(model: ContinualDQN, path: Path) -> Path:
    model.save_training(path)
    return path


def test_another_run_begins_without_an_archive() -> None:
    part = BestReturn(steps=60)
    model = live(agent(part), 2 * PHASE)
    assert len(part.archive) == 1
    model.set_env(life())
    live(model, PHASE)
    assert len(part.archive) == 0


@pytest.mark.parametrize("option", ["heads", "subnetworks", "columns", "attention", "inputs"])
def test_where_phases_have_something_of_their_own_it_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=r"they have not learnt .*: leave heads and inputs"):
        agent(
            BestReturn(),
            env=life(CONFLICT, NUM_ENVS, "one-hot"),
            policy={option: len(CONFLICT.distinct)},
        )
    agent(BestReturn(), env=life(CONFLICT, NUM_ENVS, HIDDEN))


def test_a_part_that_does_not_choose_after_all_is_told() -> None:
    class Idle(Part):
        name: ClassVar[str] = "idle"

        def chooses(self, learner: Any) -> bool:
            return True

    with pytest.raises(NotImplementedError, match="'idle' says that it chooses actions"):
        live(agent(Idle()), PHASE)


def test_the_network_that_plays_is_not_changed() -> None:
    model = agent(BestReturn(steps=60), engine="torch")
    live(model, PHASE + 4)
    before = [tensor.clone() for tensor in model.q_net.parameters()]
    model.parts[0].actions(model, np.zeros((4, *model.observation_space.shape), np.float32))  # type: ignore[misc]
    assert all(map(torch.equal, before, model.q_net.parameters()))


def test_two_parts_that_choose_actions_are_refused() -> None:
    class Other(Part):
        name: ClassVar[str] = "other"

        def chooses(self, learner: Any) -> bool:
            return False

    with pytest.raises(ValueError, match="'best-return' and 'other' both choose actions"):
        agent(BestReturn(), Other())
