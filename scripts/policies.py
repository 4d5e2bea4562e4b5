"""Who plays: an agent from a run, the oracle, or chance."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from continual_arcade.envs.oracles import Oracle
from continual_arcade.evaluation.filming import Weighs
from continual_arcade.evaluation.policies import Network, Policy, playing_by
from continual_arcade.studies.references import RandomPlayer

if TYPE_CHECKING:
    from continual_arcade.studies.run_spec import Agent


def load_agent(path: Path) -> "Agent":
    """Load an agent from a checkpoint, to play and not to learn: on one thread.

    Raises:
        ValueError: If the file is damaged, or none of ours.
    """
    # PyTorch takes seconds to load, and whoever has no agent needs none.
    import torch

    from continual_arcade.agents.continual_dqn import ContinualDQN
    from continual_arcade.agents.files.state_files import is_foreign, kind_of
    from continual_arcade.agents.sb3 import loading, saving

    if is_foreign(path):
        raise ValueError(
            f"{path} is in Stable-Baselines3's own format, which can run code when it is loaded, "
            "and may be of any algorithm: play it from Python, as in Camera(game, schedule, "
            "phase).film(PPO.load(path)) or replay_phases(..., load=PPO.load)"
        )
    torch.set_num_threads(1)  # a network of this size gains nothing from more
    if kind_of(path) == saving.KIND:
        return loading.load_agent(path)
    return ContinualDQN.load(path, device="cpu")


def no_saliency(name: str) -> str:
    """Say why there is no saliency of an agent."""
    return (
        "--saliency is the gradient of the value of an action, of which a DQN has one for each, "
        f"and {name} has none: leave it out"
    )


def saliency_of(agent: Any, network: Network | None = None) -> Weighs:
    """Return what says how much each number that an agent sees weighs in its choice.

    Args:
        agent: The agent.
        network: By which of its weights it plays; what it is evaluated by if not given.

    Raises:
        ValueError: If it has no value of each action.
    """
    from continual_arcade.agents.probes.saliency import saliency  # takes seconds

    if not hasattr(agent, "q_net"):
        raise ValueError(no_saliency(type(agent).__name__))
    return lambda seen: saliency(playing_by(agent, network).q_net, seen)


def scripted(name: str, env: Any, seed: int) -> Policy:
    """Return the oracle or the random player for an environment.

    Args:
        name: ``"oracle"`` or ``"random"``.
        env: The environment it plays in.
        seed: Seed of the random player.
    """
    return Oracle(env) if name == "oracle" else RandomPlayer(env.action_space, seed)


SCRIPTED = ("oracle", "random")
