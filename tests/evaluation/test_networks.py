"""By which weights an agent plays when it is evaluated, and how tables tell."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from continual_arcade.agents import ContinualDQN
from continual_arcade.evaluation.callback import EvaluationCallback
from continual_arcade.evaluation.evaluator import Evaluator
from continual_arcade.evaluation.policies import FunctionPolicy, networks_of, playing_by
from continual_arcade.evaluation.protocol import EvaluationSettings, Protocol
from continual_arcade.evaluation.record import Record
from continual_arcade.evaluation.replaying import replay_phases
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.runs import Run
from continual_arcade.evaluation.table import append, of_network, read, rows

LIMIT = 200
FAST: dict[str, Any] = {"learning_rate": 0.03}
"""So that the last weights are far from their average."""


def trained(average: float = 0.99) -> ContinualDQN:
    agent = tiny.agent(engine="compiled", average=average, **FAST)
    agent.learn(tiny.LIFE)
    return agent


def greedy(network: torch.nn.Module) -> FunctionPolicy:
    def choose(seen: Any) -> Any:
        with torch.no_grad():
            return network(torch.from_numpy(np.asarray(seen, np.float32))).argmax(1).numpy()

    return FunctionPolicy(choose)


def evaluator() -> Evaluator:
    return Evaluator("FlappyBird", tiny.CONFLICT, episodes=5, max_steps=LIMIT)


def test_agents_are_evaluated_by_the_average_unless_asked_otherwise() -> None:
    agent, games = trained(), evaluator()
    assert agent.averaged is not None
    by_hand = {
        "average": games.play(greedy(agent.averaged.q_net)).lengths,
        "last": games.play(greedy(agent.q_net)).lengths,
    }
    assert np.any(by_hand["average"] != by_hand["last"])
    assert np.array_equal(games.play(agent).lengths, by_hand["average"])
    assert np.array_equal(games.play(agent.averaged).lengths, by_hand["average"])
    for network in networks_of(agent):
        assert np.array_equal(games.play(agent, network=network).lengths, by_hand[network])


def test_who_keeps_no_average_plays_by_the_last_weights() -> None:
    agent, games = trained(0.0), evaluator()
    assert networks_of(agent) == networks_of(FunctionPolicy(len)) == ("last",)
    expected = games.play(greedy(agent.q_net)).returns
    assert np.array_equal(games.play(agent).returns, expected)
    with pytest.raises(ValueError, match="keeps no average"):
        games.play(agent, network="average")
    with pytest.raises(ValueError, match="network = 'best' must be one of average, last"):
        playing_by(agent, "best")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    protocol = Protocol(
        "FlappyBird",
        "FlappyBird-v0",
        tiny.CONFLICT,
        EvaluationSettings(every=tiny.PHASE, episodes=3, max_steps=LIMIT, at_end=1),
    )
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    agent = tiny.agent(engine="compiled", average=0.99, **FAST)
    callback = EvaluationCallback(protocol.make_evaluator(), protocol.timetable, folder, seed=0)
    agent.learn(tiny.LIFE, callback)
    return Run.load(folder.path)


def test_the_table_of_a_run_has_both_and_its_record_is_that_of_the_average(run: Run) -> None:
    assert run.network == "average"
    counts = run.table["network"].value_counts()
    assert counts["average"] == counts["last"] == len(run.table) // 2
    last = run.record("return", "last")
    assert np.array_equal(
        run.record("return").values, run.record("return", "average").values, equal_nan=True
    )
    assert np.any(run.record("return").values != last.values)
    half = run.table[run.table["network"] == "last"]
    alone = Record.from_table(half.drop(columns="network"), run.protocol.schedule, value="return")
    assert np.array_equal(alone.values, last.values)
    with pytest.raises(ValueError, match="no episode was played by network 'average', only by la"):
        of_network(half, "average")


def test_checkpoints_play_by_both_again(run: Run) -> None:
    steps = {int(step): path for step, path in run.folder.checkpoints().items()}
    replayed = replay_phases(
        steps, run.protocol, load=ContinualDQN.load, run=run.folder.name, late=run.num_envs
    )
    columns = [name for name in run.table if name != "seed"]
    order = ["lifetime_step", "network", "eval_phase", "episode"]
    tables = [
        table.sort_values(order).reset_index(drop=True)[columns]
        for table in (run.table, replayed.table)
    ]
    pd.testing.assert_frame_equal(*tables)


def test_a_table_of_an_earlier_version_is_read_and_continued_as_it_began(tmp_path: Path) -> None:
    agent, games, path = trained(0.0), evaluator(), tmp_path / "evaluations.csv"
    played = games.play(agent)

    def of(step: int, network: Any = "last") -> Any:
        told: dict[str, Any] = {"run": "r", "seed": 0, "step": step, "trained_phase": -1}
        return rows(games, played, **told, network=network)

    append(path, of(0))
    whole = path.read_text("utf-8")
    assert whole.splitlines()[0].endswith(",params_hash,network")
    older = "".join(line.rsplit(",", 1)[0] + "\r\n" for line in whole.splitlines())
    path.write_bytes(older.encode())
    assert set(read(path)["network"]) == {"last"}
    append(path, of(8))
    assert path.read_bytes().startswith(older.encode())
    table = read(path)
    assert len(table) == 30
    assert set(table["network"]) == {"last"}
    before = path.read_bytes()
    with pytest.raises(ValueError, match="begun by an earlier version, without the column network"):
        append(path, of(16, "average"))
    assert path.read_bytes() == before


def test_a_network_that_there_is_not_is_damage(tmp_path: Path) -> None:
    games, path = evaluator(), tmp_path / "evaluations.csv"
    played = games.play(trained(0.0))
    append(path, rows(games, played, run="r", seed=0, step=0, trained_phase=-1))
    path.write_text(path.read_text("utf-8").replace(",last", ",lost"), "utf-8")
    with pytest.raises(ValueError, match="damaged: network 'lost'"):
        read(path)
