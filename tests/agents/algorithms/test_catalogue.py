"""Algorithms by name, their settings, and what is refused."""

from dataclasses import fields
from typing import Any

import pytest

from continual_arcade.agents.algorithms.algorithm import Algorithm
from continual_arcade.agents.algorithms.catalogue import (
    ALGORITHMS,
    METHODS_OF_ALL,
    check_method,
    find,
    named,
    parse_algorithm,
    settings_class,
)
from continual_arcade.agents.algorithms.settings import AlgorithmSettings
from continual_arcade.agents.methods import METHODS, compose
from continual_arcade.agents.settings import DQNSettings


def test_the_folder_is_the_catalogue() -> None:
    assert list(ALGORITHMS) == ["a2c", "ppo", "qrdqn"]
    assert settings_class("dqn") is DQNSettings
    with pytest.raises(ValueError, match="unknown algorithm 'pppo': did you mean 'ppo'"):
        find("pppo")


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=list(ALGORITHMS))
def test_every_setting_is_an_argument_of_the_constructor(algorithm: Algorithm) -> None:
    import inspect

    known = inspect.signature(algorithm.load().__init__).parameters
    arguments = algorithm.settings().arguments()
    assert known.keys() >= arguments.keys()
    # And what a scenario decides about for a DQN has the same name here.
    names = {field.name for field in fields(algorithm.settings)}
    assert algorithm.settings.carried <= names & {field.name for field in fields(DQNSettings)}


@pytest.mark.parametrize("name", ["ppo", "a2c"])
def test_defaults_are_those_of_stable_baselines3(name: str) -> None:
    import inspect

    algorithm = find(name)
    parameters = inspect.signature(algorithm.load().__init__).parameters
    for argument, value in algorithm.settings().arguments().items():
        if (name, argument) == ("ppo", "n_steps"):
            value *= algorithm.settings().num_envs
        assert value == parameters[argument].default, argument


def test_a_choice_is_written_as_those_of_parts_are() -> None:
    text = "ppo:n_steps=128,hidden=64x32,clip_range_vf=0.1,target_kl=none,normalize_advantage=false"
    assert parse_algorithm(text) == (
        "ppo",
        {
            "n_steps": 128,
            "hidden": (64, 32),
            "clip_range_vf": 0.1,
            "target_kl": None,
            "normalize_advantage": False,
        },
    )
    assert parse_algorithm("dqn") == ("dqn", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dqn:gamma=0.9", "--dqn.SETTING"),
        ("sac", "unknown algorithm 'sac'"),
        ("ppo:buffer_size=10", "unknown setting of ppo 'buffer_size'"),
        ("ppo:n_step=10", "did you mean 'n_steps'"),
        ("ppo:n_steps=3e4", "ppo:n_steps = '3e4' must be a whole number"),
        ("ppo:hidden=64,64", "'64' must be written setting=value"),
        ("ppo:hidden=64y64", "whole numbers with x between them"),
        ("ppo:", "ends where a setting should follow"),
    ],
)
def test_a_choice_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_algorithm(text)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("ppo", {"n_steps": 0}, "ppo: n_steps = 0 must be a whole number, at least 1"),
    ("ppo", {"learning_rate": 0.0}, r"ppo: learning_rate = 0.0 must be above 0 and at most 1e\+30"),
    ("ppo", {"gamma": 1.5}, "ppo: gamma = 1.5 must be from 0 to 1"),
    ("ppo", {"clip_range": 0.0}, "ppo: clip_range = 0.0"),
    ("ppo", {"ent_coef": -0.1}, "ppo: ent_coef = -0.1"),
    ("ppo", {"n_steps": 100}, "batch_size = 64 does not divide the rollout of 800 steps"),
    ("ppo", {"batch_size": 1}, "nothing to normalise"),
    ("ppo", {"normalize_advantage": "no"}, "must be True or False"),
    ("ppo", {"hidden": (0,)}, r"hidden\[0\] = 0"),
    ("a2c", {"activation": "gelu"}, "unknown activation 'gelu'"),
    ("a2c", {"num_envs": 1, "normalize_advantage": True}, "choose num_envs = 2 or more"),
    ("a2c", {"gae_lambda": float("nan")}, "gae_lambda = nan"),
    ("qrdqn", {"n_quantiles": 0}, "qrdqn: n_quantiles = 0"),
    ("qrdqn", {"buffer_size": 16}, "buffer_size = 16 is smaller than batch_size = 32"),
    ("qrdqn", {"target_update_interval": 4}, "less than one step of num_envs = 8 games"),
]


@pytest.mark.parametrize(("name", "settings", "message"), REFUSED)
def test_settings_out_of_range_are_refused(
    name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        find(name).settings(**settings)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_settings_come_back_from_plain_data(name: str) -> None:
    kind = find(name).settings
    settings = kind(hidden=(3, 5), num_envs=4)
    assert kind.from_dict(settings.to_dict()) == settings
    data = settings.to_dict()
    with pytest.raises(ValueError, match="the settings lack gamma"):
        kind.from_dict({key: value for key, value in data.items() if key != "gamma"})
    with pytest.raises(ValueError, match=f"unknown setting of {name} 'lam'"):
        kind.from_dict({**data, "lam": 1})


def test_a_run_in_which_nothing_would_be_learnt_is_refused() -> None:
    with pytest.raises(ValueError, match="make a rollout of 2,048 steps"):
        find("ppo").settings().check_length(2_048)
    find("ppo").settings().check_length(2_049)
    with pytest.raises(ValueError, match="learning_starts = 1,000"):
        find("qrdqn").settings().check_length(1_000)


def test_only_methods_that_add_nothing_are_taken() -> None:
    for name in METHODS_OF_ALL:
        check_method("ppo", METHODS[name])
    for name in METHODS.keys() - {*METHODS_OF_ALL}:
        with pytest.raises(ValueError, match=f"the method is '{name}'"):
            check_method("ppo", METHODS[name])
    with pytest.raises(ValueError, match="'ppo' takes no parts and no other replay"):
        check_method("ppo", compose("finetune", None, ("ewc:lam=1",)))
    assert [named("ppo", METHODS[name]) for name in METHODS_OF_ALL] == [
        "ppo",
        "ppo-from-scratch",
        "ppo-joint",
    ]


def test_a_library_that_is_not_installed_is_named_with_its_extra() -> None:
    missing = Algorithm("", "", find("qrdqn").settings, "sb3_nowhere:QRDQN", extra="contrib")
    with pytest.raises(ValueError, match=r"pip install 'continual-arcade\[contrib\]'"):
        missing.load()
    # What a library that is installed lacks itself is another matter.
    broken = Algorithm("", "", AlgorithmSettings, "stable_baselines3.nowhere:PPO", extra="contrib")
    with pytest.raises(ModuleNotFoundError):
        broken.load()
