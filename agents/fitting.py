"""Whether an agent, its parts, its memory, its settings and its environment go together."""

from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from continual_arcade.agents.arguments import READ_AT_EACH_STEP, RULES
from continual_arcade.agents.replay import NoReplayBuffer, TransitionReplayBuffer
from continual_arcade.envs.checks import check_values


def check_env(agent: Any, env: VecEnv) -> None:
    """Check that parts and environment go together, and let the agent follow its phases.

    Raises:
        ValueError: If they do not.
    """
    if agent.parts and agent._vec_normalize_env is not None:
        raise ValueError(
            "parts remember observations as they are, which VecNormalize keeps changing: "
            "leave it out, or the parts"
        )
    agent.phase_tracker.look_at(env)
    for part in agent.parts:
        if part.needs_boundaries and not agent.phase_tracker.has_boundaries:
            raise ValueError(
                f"part {part.name!r} needs to be told where phases end, but "
                f"{agent.phase_tracker.description} has no phase that ends: choose another "
                "schedule (shrink, conflict, ...), or leave the part out"
            )
        if part.once and agent.phase_tracker.drifts:
            raise ValueError(
                f"part {part.name!r} freezes what a phase has learnt at its end, and in "
                f"{agent.phase_tracker.description} a phase drifts into the next one: choose a "
                "schedule in which none does, or another method"
            )
    _check_lengths(agent)
    # Last: another epsilon would not help a part.
    if agent.exploration is not None and agent.exploration.epsilon == "per_phase":
        agent.phase_tracker.progress_of_phase()  # raises if no phase ends


def check_steps(agent: Any) -> None:
    """Check that what a part plans to learn from is learnt from.

    Raises:
        ValueError: If it is not.
    """
    for part in agent.parts:
        if part.plans_batches and agent.gradient_steps == 0:
            raise ValueError(
                f"gradient_steps = 0 learns nothing, and part {part.name!r} would keep all "
                "that it is to learn from: set gradient_steps = 1, or leave the part out"
            )


def _check_lengths(agent: Any) -> None:
    """Check that something is learnt of each phase that a part then finishes."""
    schedule = agent.phase_tracker.followed
    once = [part.name for part in agent.parts if part.once]
    if schedule is None or not once:
        return
    batch = 0 if agent.streams else agent.batch_size
    for index, phase in enumerate(schedule.phases[:-1]):
        needed = batch if index else max(batch, agent.learning_starts)
        if phase.steps <= needed:
            raise ValueError(
                f"part {once[0]!r} freezes what a phase has learnt at its end, and phase "
                f"{index + 1} ends after {phase.steps:,} steps, before anything is learnt "
                f"(learning_starts = {agent.learning_starts:,}, batch_size = {batch:,}): choose "
                "longer phases, or smaller ones of these"
            )


def check_memory(agent: Any) -> None:
    """Check that replay and exploration, which may be others by now, go with agent and parts.

    Raises:
        ValueError: If one does not.
    """
    actions = int(agent.action_space.n)
    if agent.exploration is not None:
        agent.exploration.check_actions(actions)
    if any(part.watches_replay for part in agent.parts):
        _ = agent.replay  # raises if it is of another kind
    replay = agent.replay_buffer
    if isinstance(replay, NoReplayBuffer) and not agent.streams:
        raise ValueError(
            "replay 'none' keeps nothing to learn from: choose another one, or a part that "
            "learns from transitions as they come, such as 'stream-q'"
        )
    if not isinstance(replay, TransitionReplayBuffer):
        return
    if replay.gamma != agent.gamma:
        raise ValueError(
            f"gamma = {agent.gamma} was set, but replay sums its returns with {replay.gamma}: "
            f"make a new agent with gamma={agent.gamma}, and let it take over the network "
            "(set_parameters)"
        )
    replay.check_fit(agent.observation_space, actions, agent.n_envs)
    for part in agent.parts:
        for name in sorted(part.replay_columns):
            column = replay.columns.get(name)
            if column is None or column.shape[1:] != (actions,):
                found = "has none" if column is None else f"has one of shape {column.shape}"
                raise ValueError(
                    f"part {part.name!r} needs a column {name!r} in replay, of {actions} "
                    f"numbers for each transition, and replay {found}: add it, such as by "
                    f"agent.replay.add_column({name!r}, ({actions},), np.float32, np.nan)"
                )


def check_changes(agent: Any) -> None:
    """Check what was changed since the agent was made, as far as no engine can honour it.

    Raises:
        ValueError: If something would be silently ignored.
    """
    check_values({name: getattr(agent, name) for name in READ_AT_EACH_STEP}, RULES)
    check_steps(agent)
    _check_lengths(agent)
    agent.check_parts()
    for part in agent.parts:
        part.check_learner(agent)
    if (agent.q_net, agent.q_net_target) != (agent.policy.q_net, agent.policy.q_net_target):
        raise ValueError(
            "q_net of the agent, which learns, and q_net of its policy, which acts and is "
            "saved, are two networks (or so are the targets): to exchange a network set both, "
            "agent.q_net = agent.policy.q_net = ..."
        )
    if not any(tensor.requires_grad for tensor in agent.q_net.parameters()):
        raise ValueError(
            "every parameter of the network is frozen, and nothing can be learnt: set "
            "requires_grad of some"
        )
    moved = {id(tensor) for group in agent.optimizer.param_groups for tensor in group["params"]}
    known = {id(tensor) for tensor in agent.policy.parameters()}
    lost = [
        name
        for name, tensor in agent.q_net.named_parameters()
        if tensor.requires_grad and id(tensor) not in moved
    ]
    if lost and moved - known:
        raise ValueError(
            f"the optimizer moves tensors that the network does not have any more, and not "
            f"{', '.join(lost)}, which would never learn: after exchanging a network or layer "
            "make a new optimizer, such as agent.policy.optimizer = "
            "torch.optim.Adam(agent.q_net.parameters(), lr=...)"
        )
