"""What is known of an algorithm."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from continual_arcade.agents.algorithms.settings import AlgorithmSettings


@dataclass(frozen=True)
class Algorithm:
    """An algorithm of Stable-Baselines3, or of a library that builds on it."""

    about: str
    """What it is, in a line."""
    source: str
    """Where it was published."""
    settings: type[AlgorithmSettings]
    """How it learns, and what it is called."""
    learner: str
    """Its class, as ``"module:attribute"``; imported when an agent is made."""
    counters: tuple[str, ...] = ()
    """What it counts beside what all algorithms count: attributes that training is resumed with."""
    extra: str = ""
    """Extra of this package that brings its library; empty if it is always there."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.settings.algorithm

    @property
    def library(self) -> str:
        """Package that its class is in."""
        return self.learner.partition(":")[0].partition(".")[0]

    def load(self) -> type[Any]:
        """Return its class.

        Raises:
            ValueError: If its library is not installed; the message says how to install it.
        """
        module, _, attribute = self.learner.partition(":")
        try:
            found: type[Any] = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if not self.extra or error.name != self.library:
                raise
            raise ValueError(
                f"algorithm {self.name!r} needs {self.library}, which is not installed: "
                f"pip install 'continual-arcade[{self.extra}]'"
            ) from error
        return found
