"""What the command ``evaluate`` does, once its arguments are read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from continual_arcade.envs.checks import check_new
from continual_arcade.evaluation import network_diagnostics
from continual_arcade.evaluation.network_diagnostics import Diagnostic
from continual_arcade.evaluation.replaying import replay_phases
from continual_arcade.evaluation.runs import Run
from continual_arcade.evaluation.table import append, read, same
from continual_arcade.evaluation.terminal import plain_console
from continual_arcade.reports.run_pictures import show
from continual_arcade.scripts.cli import NOTICE
from continual_arcade.scripts.options import Evaluate
from continual_arcade.scripts.policies import load_agent
from continual_arcade.studies.probes import NORM, PROBES
from continual_arcade.studies.provenance import other_versions, provenance
from continual_arcade.studies.run_spec import Agent, RunSpec, check_agent


def evaluate(args: Evaluate) -> int | None:
    """Evaluate a run again.

    Returns:
        ``NOTICE`` if episodes differ from those of the run, or not all of it could be
        played again.

    Raises:
        ValueError: If the run or a checkpoint is damaged, or belongs to another run.
        OSError: If there is no such run, or the results cannot be written.
    """
    if args.out is not None:
        check_new(args.out)
    before = Run.load(args.folder)
    folder, protocol = before.folder, before.protocol
    if before.is_external:
        raise ValueError(
            f"the agent of {folder.path} ({before.method}) is none of this suite's: play its "
            "checkpoints from Python, as in replay_phases(checkpoints, Run.load(path).protocol, "
            "load=PPO.load)"
        )
    asked = {"episodes": args.episodes, "max_steps": args.max_steps}
    evaluation = replace(protocol.evaluation, **{k: v for k, v in asked.items() if v is not None})
    evaluated = set(before.table["lifetime_step"])
    # One that was not evaluated was killed before its rows were there.
    checkpoints = {step: path for step, path in folder.checkpoints().items() if step in evaluated}

    utc = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    out = args.out or folder.path / f"evaluated_{utc}"
    out.mkdir(parents=True)
    table = out / folder.table.name
    try:
        replayed = replay_phases(
            checkpoints,
            replace(protocol, evaluation=evaluation),
            load=partial(_load, {path: step for step, path in checkpoints.items()}, before.config),
            late=before.num_envs,
            run=folder.name,
            seed=before.seed,
            probes=PROBES if RunSpec.from_config(before.config).probes else (),
            jobs=args.jobs,
            progress=True,
        )
    except BaseException:
        out.rmdir()  # as if nothing had been asked for
        raise
    append(table, replayed.rows)
    if replayed.diagnostics:
        network_diagnostics.append(out / folder.diagnostics.name, replayed.diagnostics)
    console = plain_console()
    again = replace(before, protocol=replace(protocol, evaluation=evaluation), table=read(table))
    show(again, out, console)
    console.out(f"evaluated {replayed.steps:,} steps in {replayed.seconds:.1f} s")
    print(f"the results are in {out}")
    missing = sorted(evaluated - checkpoints.keys())
    if missing:
        console.out(f"not played again, because there is no checkpoint: {_steps(missing)}")
    comparable = evaluation == protocol.evaluation
    differing = [
        step
        for step in checkpoints
        if comparable
        and not same(*(t[t["lifetime_step"] == step] for t in (before.table, again.table)))
    ]
    others = _other_networks(before, replayed.diagnostics)
    if not differing and not others:
        if comparable:
            console.out("every episode is the same as in the run")
        return NOTICE if missing else None
    if differing:
        console.out(f"episodes differ from those of the run: {_steps(differing)}")
    if others:
        console.out(
            "the network is not the one that was evaluated, by the norm of its weights: "
            f"{_steps(others)}"
        )
    else:
        console.out(_why_different(before))
    return NOTICE


def _load(steps: Mapping[Path, int], config: Mapping[str, Any], path: Path) -> Agent:
    """Load a checkpoint, and see that it is the one that it is called.

    Raises:
        ValueError: If it is damaged, or another agent.
    """
    agent = load_agent(path)
    check_agent(agent, path, RunSpec.from_config(config))
    if agent.num_timesteps != steps[path]:
        raise ValueError(
            f"it is no checkpoint of step {steps[path]:,}: the agent was trained for "
            f"{agent.num_timesteps:,} steps"
        )
    return agent


def _other_networks(before: Run, found: Sequence[Diagnostic]) -> list[int]:
    """Return the steps at which a network is another one than the run has looked into.

    Other machines add up in another order: then it is the same to all but the last digits.
    """
    if before.diagnostics is None:
        return []
    known = before.diagnostics[before.diagnostics["quantity"] == NORM]
    norms = dict(zip(known["lifetime_step"], known["value"], strict=True))
    return [
        one.lifetime_step
        for one in found
        if one.quantity == NORM
        and not math.isclose(one.value, norms.get(one.lifetime_step, one.value), rel_tol=1e-6)
    ]


def _why_different(before: Run) -> str:
    """Say what is known to be other than it was in the run; else, what is left."""
    now = provenance()
    found = other_versions(before.config)
    for name, what in (("machine", "processor"), ("git_commit", "commit")):
        then = before.config.get(name)
        if then and now[name] and then != now[name]:
            found.append(f"{what} {now[name]} instead of {then}")
    if found:
        return f"computed with {'; '.join(found)}"
    return (
        "versions, commit and processor are those of the run: these checkpoints are not the agents "
        f"that were evaluated, or {before.folder.table.name} was changed"
    )


def _steps(steps: Sequence[int]) -> str:
    return f"step {', '.join(f'{step:,}' for step in steps)}"
