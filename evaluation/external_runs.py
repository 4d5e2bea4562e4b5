"""Runs of agents that this suite did not train, as folders like those of its own.

The configuration of such a run holds what its numbers depend on (environment, schedule and
evaluation), the name of the method, the seed, and as many of the settings as are given. What is not
known is null.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from continual_arcade.envs.checks import Whole
from continual_arcade.evaluation import network_diagnostics
from continual_arcade.evaluation.network_diagnostics import Diagnostic
from continual_arcade.evaluation.protocol import Protocol
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.table import Row, append


def external_config(
    protocol: Protocol, *, method: str, seed: int, num_envs: int, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the configuration of a run, as far as it is known.

    Args:
        protocol: What its numbers depend on besides the agent.
        method: Name of the method.
        seed: Seed of the run.
        num_envs: Environments that step together in training: so many lifetime steps pass at once.
        settings: What is known of the settings of the method, as plain data. Runs of a method whose
            settings differ are not put together.

    Raises:
        ValueError: If an argument makes no sense.
    """
    if not isinstance(method, str) or not method.strip():
        raise ValueError(f"method = {method!r} must be a name")
    seed, num_envs = Whole(0)("seed", seed), Whole(1)("num_envs", num_envs)
    given = {"num_envs": num_envs, **settings}
    if given["num_envs"] != num_envs:
        raise ValueError(f"settings say num_envs = {given['num_envs']!r}, but it is {num_envs}")
    config = {
        **protocol.to_config(),
        "method": method,
        "method_spec": None,
        "seed": seed,
        "settings": given,
        "save_every": None,
    }
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"settings = {dict(settings)} and options = {dict(protocol.options)} must be plain "
            f"data: {error}"
        ) from error
    return config


def write_run(
    root: Path,
    protocol: Protocol,
    rows: Sequence[Row],
    readings: Sequence[Diagnostic] = (),
    *,
    method: str,
    num_envs: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Write a run that was evaluated elsewhere, for ``compare``, ``report`` and ``Run.load``.

    Args:
        root: Where runs are kept; the run gets a folder of its own in it.
        protocol: What its numbers depend on besides the agent.
        rows: Its table of evaluations: all that were due, up to the last one that there is.
        readings: Its table of diagnostics.
        method: Name of the method.
        num_envs: Environments that stepped together in training: so many lifetime steps passed at
            once.
        settings: What is known of the settings of the method, as plain data.

    Raises:
        ValueError: If an argument makes no sense, or the evaluations are not those that were due.
        OSError: If the folder cannot be written.
    """
    config = external_config(
        protocol, method=method, seed=rows[0].seed, num_envs=num_envs, settings=settings or {}
    )
    stages = _stages(protocol, {row.lifetime_step for row in rows}, num_envs)
    folder = RunFolder.new(root, protocol.game, protocol.schedule.name, method, seed=config["seed"])
    folder.make()

    def placed(one: Any) -> Any:
        return replace(one, run=folder.name, trained_phase=stages[one.lifetime_step])

    append(folder.table, map(placed, rows))
    if readings:
        network_diagnostics.append(folder.diagnostics, map(placed, readings))
    folder.write_config(config)  # last: without it, it is no run
    return folder


def _stages(protocol: Protocol, steps: set[int], num_envs: int) -> dict[int, int]:
    """Return the phase trained in at each step that was evaluated.

    Raises:
        ValueError: If these are not the evaluations that were due.
    """
    due = {one.step: one.stage for one in protocol.timetable.expected(num_envs)}
    settings = protocol.evaluation
    asked = f"every = {settings.every}, at_end = {settings.at_end}, spacing = {settings.spacing}"
    asked += f" and num_envs = {num_envs}"
    mend = (
        "evaluate at the steps of protocol.timetable.expected(num_envs), or set `evaluation` to "
        "what was done, as in EvaluationSettings(every=0, at_end=1) for phase ends only"
    )
    if strange := sorted(steps - due.keys()):
        raise ValueError(f"no evaluation is due at step {_listed(strange)} with {asked}: {mend}")
    if missing := sorted(step for step in due.keys() - steps if step < max(steps)):
        raise ValueError(f"no evaluation of step {_listed(missing)}, due with {asked}: {mend}")
    return due


def _listed(steps: Sequence[int], shown: int = 3) -> str:
    more = f" and {len(steps) - shown} more" if len(steps) > shown else ""
    return ", ".join(f"{step:,}" for step in steps[:shown]) + more
