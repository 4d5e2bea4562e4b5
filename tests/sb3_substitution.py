"""A plugin of pytest that runs Stable-Baselines3's tests of its DQN with another one in its place.

Loaded with ``-p sb3_substitution`` by ``agents/test_sb3_tests.py``. ``SB3_AGENT`` names the one:
``theirs``, ``torch`` (ours, as theirs is called) or ``compiled`` (ours, with a replay of this suite
wherever the compiled engine can serve). What came of each test is written to ``SB3_REPORT``.
"""

import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stable_baselines3
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from continual_arcade.agents import ContinualDQN as Ours
from continual_arcade.agents.replay import FIFOReplayBuffer

_MADE: list[Ours] = []
_OUTCOMES: dict[str, dict[str, Any]] = {}


class ContinualDQN(Ours):
    """Ours, which is watched, and has a replay of its own where that serves and none is chosen."""

    def __init__(self, policy: Any, env: Any, *args: Any, **kwargs: Any) -> None:
        chosen = {"replay_buffer_class", "n_steps", "optimize_memory_usage"} & kwargs.keys()
        if os.environ["SB3_AGENT"] == "compiled" and env is not None and not chosen:
            space = self._wrap_env(self._made(env)).observation_space
            if isinstance(space, spaces.Box) and len(space.shape) == 1:
                kwargs["replay_buffer_class"] = FIFOReplayBuffer
        super().__init__(policy, env, *args, **kwargs)
        _MADE.append(self)

    @staticmethod
    def _made(env: Any) -> Any:
        return stable_baselines3.common.base_class.maybe_make_env(env, 0)


def pytest_configure() -> None:
    if os.environ["SB3_AGENT"] != "theirs":
        stable_baselines3.DQN = ContinualDQN  # type: ignore[misc,assignment]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that concern a DQN."""
    kept = [item for item in items if _concerns(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _concerns(item: Any) -> bool:
    given = item.callspec.params.values() if hasattr(item, "callspec") else ()
    algorithms = [
        kind for kind in given if isinstance(kind, type) and issubclass(kind, BaseAlgorithm)
    ]
    if algorithms:
        return stable_baselines3.DQN in algorithms
    return "DQN" in inspect.getsource(item.function)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield  # type: ignore[misc]
    name = item.nodeid.replace(ContinualDQN.__name__, "DQN")
    kept = _OUTCOMES.setdefault(name, {"outcome": "passed", "why": "", "compiled": False})
    if report.outcome != "passed":
        kept["outcome"] = report.outcome
        kept["why"] = str(report.longrepr).strip().splitlines()[-1]
    kept["compiled"] |= any(agent.runs_compiled for agent in _MADE)
    if report.when == "teardown":
        _MADE.clear()
    return report


def pytest_sessionfinish() -> None:
    Path(os.environ["SB3_REPORT"]).write_text(json.dumps(_OUTCOMES), "utf-8")
