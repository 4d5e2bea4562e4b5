"""A method: a list of parts, with a kind of replay and what else belongs to it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from continual_arcade.agents.methods.base import Part
from continual_arcade.agents.methods.catalogue import (
    PRESETS,
    check_together,
    leave_out,
    parse_part,
    unknown_here,
)
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.spec_strings import parse
from continual_arcade.agents.replay import (
    BalancedReplayBuffer,
    FIFOReplayBuffer,
    MixReplayBuffer,
    NoReplayBuffer,
    ReservoirReplayBuffer,
    TransitionReplayBuffer,
)
from continual_arcade.envs.checks import check_fields

REPLAYS: Mapping[str, type[TransitionReplayBuffer]] = {
    "fifo": FIFOReplayBuffer,
    "reservoir": ReservoirReplayBuffer,
    "mix": MixReplayBuffer,
    "balanced": BalancedReplayBuffer,
    "none": NoReplayBuffer,
}
"""Kinds of replay by name."""
_REPLAY_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "fifo": {},
    "reservoir": {},
    "mix": {"fifo_size": int, "long_term_fraction": float},
    "balanced": {},
    "none": {},
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
    """Whether replay is to hold a whole run."""
    interleaved: bool = False
    """Whether all phases are trained in at once, in turns, instead of one after the other."""

    def __post_init__(self) -> None:
        check_fields(self)
        parts = self.make_parts()
        check_together(parts)
        self.check_turns(parts)
        self.make_replay()

    def make_parts(self) -> list[Part]:
        """Make the parts."""
        return [parse_part(text) for text in self.parts]

    def check_turns(self, parts: Sequence[Part]) -> None:
        """Check that parts can learn phases in turns, if they are to.

        Args:
            parts: Those of the method, and what is added to them.

        Raises:
            ValueError: If one finishes each phase where it ends for the first time.
        """
        for part in parts:
            if self.interleaved and part.once:
                raise ValueError(
                    f"method {self.name!r} takes turns between pieces of all phases, and part "
                    f"{part.name!r} would finish each phase with its first piece: leave the part "
                    "out, or choose method 'finetune'"
                )

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


METHODS: dict[str, Method] = {}
"""Every method that was found, by name: the baseline and what else has no part first."""


def _add(preset: Preset) -> None:
    given = asdict(preset)
    text, source = given["text"].removesuffix("."), given.pop("source")
    try:
        METHODS[preset.name] = Method(**{**given, "text": f"{text} ({source})."})
    except ValueError as error:
        leave_out(f"preset {preset.name}", error)


def find_methods() -> None:
    """Make the methods of all presets that the catalogue has found."""
    METHODS.clear()
    for preset in sorted(PRESETS.values(), key=lambda p: (bool(p.parts), p.name)):
        _add(preset)


find_methods()


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
        raise ValueError(unknown_here("method", name, METHODS))
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
