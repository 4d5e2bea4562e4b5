"""Methods by name: lists of parts, with a kind of replay and what else belongs to them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from continual_arcade.agents.methods.base import Part
from continual_arcade.agents.methods.catalogue import check_together, parse_part
from continual_arcade.agents.methods.spec_strings import parse
from continual_arcade.agents.replay import (
    BalancedReplayBuffer,
    FIFOReplayBuffer,
    MixReplayBuffer,
    ReservoirReplayBuffer,
    TransitionReplayBuffer,
)
from continual_arcade.envs.checks import check_fields
from continual_arcade.envs.messages import unknown

REPLAYS: Mapping[str, type[TransitionReplayBuffer]] = {
    "fifo": FIFOReplayBuffer,
    "reservoir": ReservoirReplayBuffer,
    "mix": MixReplayBuffer,
    "balanced": BalancedReplayBuffer,
}
"""Kinds of replay by name."""
_REPLAY_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "fifo": {},
    "reservoir": {},
    "mix": {"fifo_size": int, "long_term_fraction": float},
    "balanced": {},
}


@dataclass(frozen=True)
class Method:
    """A continual-learning method: what is added to a DQN, as text.

    Raises:
        ValueError: If the text names no replay or part, a setting makes no sense, or parts exclude
            each other.
    """

    name: str
    text: str
    """What it is, and where it comes from."""
    replay: str = "fifo"
    """Kind of replay, such as ``mix:long_term_fraction=0.25``."""
    parts: tuple[str, ...] = ()
    """Parts, such as ``ewc:lam=100``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the learner that belong to the method."""
    remembers_all: bool = False
    """Whether replay is to hold a whole life."""
    interleaved: bool = False
    """Whether all phases are lived at once, in turns, instead of one after the other."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_together(self.make_parts())
        self.make_replay()

    def make_parts(self) -> list[Part]:
        """Make the parts."""
        return [parse_part(text) for text in self.parts]

    def make_replay(self) -> tuple[type[TransitionReplayBuffer], dict[str, Any]]:
        """Return the class of replay and its settings."""
        name, settings = parse(self.replay, "replay", _REPLAY_SETTINGS)
        return REPLAYS[name], settings

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Method":
        """Make a method from what :meth:`to_dict` returned.

        Raises:
            ValueError: If it is that of another version, or makes no sense.
        """
        known = {f.name for f in fields(cls)}
        if data.keys() != known:
            raise ValueError(
                f"a method has {', '.join(sorted(known))}; this one has {', '.join(sorted(data))}: "
                "it was written by another version"
            )
        return cls(**data)


# Learning rates and strengths are the best of a search with as many trials for each method, over
# lives of both games; see docs/results.md and studies/shipped/presets.toml.
_PRESETS = (
    Method("finetune", "DQN that forgets the oldest transitions first, and nothing is reset."),
    Method(
        "from-scratch",
        "Network, optimiser and replay begin anew with each phase: the reference for plasticity.",
        parts=("reset",),
        settings={"epsilon": "per_phase"},
    ),
    Method(
        "reservoir",
        "Replay is a uniform sample of the whole life (Vitter 1985, algorithm R).",
        replay="reservoir",
        settings={"learning_rate": 6.83e-4},
    ),
    Method(
        "mix",
        "Most of replay holds the newest, the rest a uniform sample of all (Isele and Cosgun "
        "2018).",
        replay="mix:long_term_fraction=0.275",
        settings={"learning_rate": 6.81e-4},
    ),
    Method(
        "perfect-memory",
        "Nothing is ever forgotten from replay: an upper reference, not a method.",
        settings={"learning_rate": 9.12e-4},
        remembers_all=True,
    ),
    Method(
        "joint",
        "All phases at once, in turns, and nothing is forgotten from replay: what there is to "
        "learn without drift. A reference, not a method.",
        settings={"learning_rate": 9.12e-4},  # that of perfect-memory, whose replay it has
        remembers_all=True,
        interleaved=True,
    ),
    Method(
        "l2",
        "All parameters are held alike (Kirkpatrick et al. 2017).",
        parts=("l2:lam=2.18e-05",),
        settings={"learning_rate": 1.18e-3},
    ),
    Method(
        "ewc",
        "Elastic weight consolidation, a penalty for each phase (Kirkpatrick et al. 2017, eq. 3).",
        parts=("ewc:lam=0.000205",),
        settings={"learning_rate": 1.12e-3},
    ),
    Method(
        "online-ewc",
        "One penalty around the latest anchor (Schwarz et al. 2018).",
        parts=("online-ewc:lam=1.98e-05",),
        settings={"learning_rate": 8.71e-4},
    ),
    Method(
        "si",
        "Synaptic intelligence (Zenke et al. 2017).",
        parts=("si:lam=0.00222",),
    ),
    Method(
        "mas",
        "Memory-aware synapses (Aljundi et al. 2018).",
        parts=("mas:lam=2.4e-05",),
        settings={"learning_rate": 9.72e-4},
    ),
    Method(
        "mer",
        "DQN-MER in mini-batches: reservoir, and an interpolation after each step of the "
        "environments (Riemer et al. 2019).",
        replay="reservoir",
        parts=("mer:algorithm=batched,gamma=0.894",),
        settings={"learning_rate": 3.77e-4},
    ),
    Method(
        "mer-lazy",
        "Half of replay long-term, and an interpolation every 500 gradient steps.",
        replay="mix",
        parts=("reptile:every=500,eps=0.613",),
        settings={"learning_rate": 1.03e-3},
    ),
    Method(
        "mer-faithful",
        "MER's algorithm 1: single examples by plain SGD (Riemer et al. 2019). Slow.",
        replay="reservoir",
        parts=("mer:algorithm=1,memories=15,repeats=1,beta=1.0,gamma=0.654",),
        settings={"optimizer": "sgd", "learning_rate": 2.79e-2},
    ),
    Method(
        "clear",
        "Replayed states keep the values they had when they were played (after Rolnick et al. "
        "2019; DER, Buzzega et al. 2020).",
        replay="mix",
        parts=("clear:alpha=0.00122",),
        settings={"learning_rate": 1.58e-3},
    ),
    Method(
        "clone",
        "States of each finished phase keep their values (ClonEx, Wolczyk et al. 2022, for Q).",
        parts=("clone:alpha=0.00131",),
        settings={"learning_rate": 1.18e-3},
    ),
    Method(
        "agem",
        "No step may raise the loss on remembered transitions (Chaudhry et al. 2019).",
        parts=("agem",),
        settings={"learning_rate": 1.71e-3},
    ),
)
METHODS: Mapping[str, Method] = {method.name: method for method in _PRESETS}
"""Every method that comes with the suite, by name."""


def compose(name: str, replay: str | None = None, parts: Sequence[str] = ()) -> Method:
    """Take a method, and change it.

    Args:
        name: A key of ``METHODS``.
        replay: Kind of replay to use instead of the method's.
        parts: Parts to add to the method's.

    Raises:
        ValueError: If there is no such method, replay, part or setting.
    """
    if name not in METHODS:
        raise ValueError(unknown("method", name, METHODS))
    method = METHODS[name]
    if replay is None and not parts:
        return method
    if replay is not None and method.remembers_all:
        raise ValueError(f"{name} is a replay that holds all: leave --replay {replay} out")
    pieces = ([] if replay is None else [replay]) + list(parts)
    # "mer" and "mer+ewc" would name the method mer, which has more to it than the part.
    if name != "finetune" or _names_more(pieces[0], replay):
        pieces = [name, *pieces]
    return Method(
        name="+".join(pieces),
        text=f"{method.name}, composed",
        replay=replay or method.replay,
        parts=(*method.parts, *parts),
        settings=method.settings,
        remembers_all=method.remembers_all,
        interleaved=method.interleaved,
    )


def _names_more(piece: str, replay: str | None) -> bool:
    """Say whether a replay or else a part has the name of a method that adds more than it."""
    if piece not in METHODS:
        return False
    alone = Method(piece, "", replay or "fifo", () if replay else (piece,))
    return _content(alone) != _content(METHODS[piece])


def _content(method: Method) -> dict[str, Any]:
    """Return what a method adds, whatever it is called."""
    return {key: value for key, value in method.to_dict().items() if key not in ("name", "text")}
