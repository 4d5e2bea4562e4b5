"""Studies whose methods learn by other algorithms than the DQN."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_studies import changed, made, small

from continual_arcade.agents.settings import DQNSettings
from continual_arcade.studies.forecast import forecast
from continual_arcade.studies.grid import cells
from continual_arcade.studies.study import Study, read
from continual_arcade.studies.work import Job, work

PPO = {"n_steps": 5, "batch_size": 10, "n_epochs": 1}
METHODS: dict[str, Any] = {
    "finetune": {},
    "ppo": {"algorithm": "ppo", "settings": PPO},
    "ppo-joint": {"algorithm": "ppo", "preset": "joint", "settings": PPO},
}


def test_a_method_says_its_algorithm_and_takes_what_means_the_same(tmp_path: Path) -> None:
    study = small(tmp_path, methods=METHODS)
    dqn, ppo, joint = study.entries
    assert isinstance(dqn.settings, DQNSettings)
    # Of the settings of all methods: games and network, but no memory and no batch.
    settings: Any = ppo.settings
    assert (settings.algorithm, settings.num_envs, settings.hidden) == ("ppo", 4, (8,))
    assert (settings.n_steps, settings.batch_size) == (5, 10)
    assert joint.method.interleaved
    study.check()
    data = json.loads(json.dumps(study.to_dict()))
    assert Study.from_dict(data) == study
    assert [data["methods"][name].get("algorithm") for name in METHODS] == [None, "ppo", "ppo"]
    names = [cell.name for cell in cells(study)]
    assert "FlappyBird-conflict__ppo__0" in names


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"ppo": {}}, "one of another algorithm says algorithm = 'ppo'"),
    ({"x": {"algorithm": "pppo"}}, "did you mean 'ppo'"),
    ({"x": {"algorithm": "ppo", "parts": ["l2"]}}, "takes no parts"),
    ({"x": {"algorithm": "ppo", "replay": "reservoir"}}, "takes no parts and no other replay"),
    ({"x": {"algorithm": "ppo", "preset": "mer"}}, "takes no parts"),
    ({"x": {"algorithm": "ppo", "settings": {"buffer_size": 3}}}, "buffer_size"),
    ({"x": {"algorithm": "ppo", "settings": {"n_steps": 0}}}, "ppo: n_steps = 0"),
    ({"x": {"algorithm": "ppo", "settings": PPO}}, "batch_size of settings is that of a DQN"),
]


@pytest.mark.parametrize(("methods", "message"), REFUSED)
def test_what_makes_no_sense_is_refused(methods: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(changed(methods=methods), Path())


def test_workers_train_it_and_find_it_again(tmp_path: Path) -> None:
    study = small(tmp_path, methods={"ppo": METHODS["ppo"]}, seeds="0", settings=None)
    (cell,) = cells(study)
    job = Job(cell.name, tmp_path / cell.name, cell.make().to_config(), made())
    outcome = work(job)
    assert outcome.state == "finished", outcome.reason
    assert work(job).digest == outcome.digest
    dqn = {"preset": "finetune", "settings": {"learning_starts": 40}}
    other = small(tmp_path, methods={"ppo": dqn}, seeds="0", settings=None)
    (cell,) = cells(other)
    job = replace(job, spec=cell.make().to_config())
    assert "it has another settings, algorithm" in work(job).reason


def test_what_it_will_cost_is_measured(tmp_path: Path) -> None:
    study = small(tmp_path, methods={"ppo": METHODS["ppo"]}, seeds="0", settings=None)
    (cost,) = forecast(list(cells(study)))
    assert cost.train_seconds > 0
    assert cost.disk > 0
