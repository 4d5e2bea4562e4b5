"""Attributes that cannot be set, because setting them would change nothing.

Python lets anybody set any attribute of any object. The rules of a game read their parameters when
an episode begins, and not from attributes; so ``env.unwrapped.gravity = 5`` would be a change that
nobody makes. It is refused, with the way that leads there.
"""

from collections.abc import Callable
from difflib import get_close_matches
from inspect import signature
from typing import Any

from continual_arcade.envs.clock import LifetimeClock

CLOSE = 0.85
"""How alike a name and that of a parameter are when the one is a slip of the pen for the other."""
_CHANGEABLE = frozenset({"render_mode", "hud"})
"""Arguments of constructors that may be changed afterwards: they act when something is drawn."""


class FixedAttributes:
    """A base for environments with a lifetime clock, whose parameters are no attributes.

    Refused are the names of what may drift, also a little misspelt, and those of arguments that act
    only when an environment is made. All other names belong to whoever sets them.
    """

    clock: LifetimeClock
    _fixed: frozenset[str] | None = None

    def _fix(self, constructor: Callable[..., None], *more: str) -> None:
        """Refuse from now on to set what would change nothing.

        Args:
            constructor: What has the arguments; that of a derived class may keep its own.
            *more: Names of arguments that its signature does not have.
        """
        named = signature(constructor).parameters.keys() - _CHANGEABLE - {"self", "options"}
        self._fixed = frozenset({*named, *more})

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] != "_" and self._fixed is not None:
            self._refuse(name)
        object.__setattr__(self, name, value)  # super() would double what a reset pays for it

    def _refuse(self, name: str) -> None:
        """Raise AttributeError if setting this attribute would change nothing."""
        if name in (self._fixed or ()):
            raise AttributeError(
                f"{name!r} is fixed when an environment is made, and setting it would change "
                f"nothing: make another one with {name}=..."
            )
        tunables = self.clock.tunables
        for tunable in get_close_matches(name, tunables, n=1, cutoff=CLOSE):
            slip = "" if tunable == name else f" (did you mean {tunable!r}?)"
            raise AttributeError(
                f"{name!r}{slip} is no attribute, and setting it would change nothing: parameters "
                "are read when an episode begins. Pin one for the next episode with "
                f"reset(options={{'params': {{{tunable!r}: ...}}}}), or let a schedule say what "
                "holds when: schedule=..."
            )


class FixedWrapperAttributes(FixedAttributes):
    """The same for single environments, whose attributes wrappers can set, too."""

    def set_wrapper_attr(self, name: str, value: Any, *, force: bool = True) -> bool:
        """Set an attribute, as in Gymnasium; wrappers further out ask here first.

        Raises:
            AttributeError: If that would change nothing.
        """
        self._refuse(name)
        environment: Any = super()
        found: bool = environment.set_wrapper_attr(name, value, force=force)
        return found
