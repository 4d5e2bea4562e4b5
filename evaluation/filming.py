"""Films of agents at play: pictures of an episode, and of several episodes side by side."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from continual_arcade.envs import IDS, ArcadeEnv, Schedule
from continual_arcade.envs.arcade_env import FRAMES_PER_SECOND, status_of
from continual_arcade.envs.context import HIDDEN, INFERRED, ContextKind
from continual_arcade.envs.drawing.film import Picture
from continual_arcade.envs.drawing.observation import ObservationPanel
from continual_arcade.envs.drawing.panels import Caption, Panels
from continual_arcade.envs.drawing.screen import Screen
from continual_arcade.envs.drawing.status import Status
from continual_arcade.envs.game import Feature
from continual_arcade.evaluation.actor import Actor
from continual_arcade.evaluation.evaluator import FIRST_SEED
from continual_arcade.evaluation.policies import Network, Policy

HUD = Literal["full", "brief", "none"]
"""What the heads-up display of a picture shows: everything, score and phase, or nothing."""

Weighs = Callable[[npt.NDArray[Any]], npt.NDArray[np.float64]]
"""How much each number of some observations weighs in the choice of an action, at least 0; of the
same shape."""

HOLD = FRAMES_PER_SECOND
"""So many pictures show that all episodes are over, before the next ones begin."""


class PhaseCamera(ABC):
    """Films episodes of one phase of a run, played as the evaluator plays them."""

    env: gym.Env[Any, Any]
    """Where the phase is played; it stays in it."""
    played: str
    """What is played, for messages."""
    shows_observation = False
    """Whether what the agent sees stands beside the game."""
    context: ContextKind = HIDDEN
    """What of its phase an observation shows."""

    def __init__(self) -> None:
        self._info: dict[str, Any] = {}
        self.over = False
        """Whether the episode is over."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures [px]."""

    @property
    @abstractmethod
    def points(self) -> str:
        """What the score counts."""

    @property
    @abstractmethod
    def status(self) -> Status:
        """The state of the episode, for the heads-up display."""

    @property
    def score(self) -> int:
        """Score of the episode so far."""
        return int(self._info["score"])

    def film(
        self,
        policy: Policy,
        *,
        seed: int = FIRST_SEED,
        seconds: float | None = None,
        every: int = 1,
        network: Network | None = None,
        weighs: Weighs | None = None,
    ) -> Iterator[Picture]:
        """Play one episode, and draw it on the way.

        Args:
            policy: Plays the episode.
            seed: Seed of the episode; the default is the first one of an evaluation.
            seconds: Stop after so many seconds of play; None for the whole episode.
            every: Draw every so many steps only. The last picture of an episode is always drawn.
            network: By which weights of an agent it plays, see :meth:`PhaseEvaluator.play`.
            weighs: What is to be marked in what the agent sees, where that is shown.

        Returns:
            Pictures of shape ``(height, width, 3)``, each drawn when it is asked for, to be shown
            at ``FRAMES_PER_SECOND / every`` a second.

        Raises:
            TypeError: If it is no policy.
            ValueError: If ``seconds`` or ``every`` is not positive, the policy cannot play what it
                would see, or something is to be marked where nothing shows it.
        """
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds = {seconds} must be positive")
        if every < 1:
            raise ValueError(f"every = {every} must be at least 1")
        if weighs is not None and not self.shows_observation:
            raise ValueError(
                "weighs marks what the agent sees, which is not shown: make the camera with "
                "shows_observation=True"
            )
        most = None if seconds is None else max(1, round(seconds * FRAMES_PER_SECOND / every))
        actor = Actor(
            policy,
            played=self.played,
            observation_space=self.env.observation_space,
            action_space=self.env.action_space,
            network=network,
            context=self.context,
        )
        return islice(self._pictures(actor, seed, every, weighs), most)

    def _pictures(
        self, actor: Actor, seed: int, every: int, weighs: Weighs | None
    ) -> Iterator[Picture]:
        observation, self._info = self.env.reset(seed=seed)
        seen = actor.begin(observation[np.newaxis])
        self.over = False
        yield self._picture(observation, seen, weighs)
        steps = 0
        while not self.over:
            (action,) = np.ravel(actor.act(seen))
            observation, _, terminated, truncated, self._info = self.env.step(action)
            seen = actor.see(observation[np.newaxis])
            self.over = terminated or truncated
            steps += 1
            if self.over or steps % every == 0:
                yield self._picture(observation, seen, weighs)

    @abstractmethod
    def _picture(self, observation: Any, seen: npt.NDArray[Any], weighs: Weighs | None) -> Picture:
        """Draw where the episode stands."""


class Camera(PhaseCamera):
    """Films episodes of one phase of a run, played as the evaluator plays them.

    An episode of a seed is the one that :class:`Evaluator` plays with that seed. Whatever can be
    evaluated can be filmed, a batch of one; ``Oracle(camera.env)`` is one that needs the
    environment.

    Args:
        game: Name of the game.
        schedule: The schedule of the run.
        phase: Index or name of the phase.
        width: Width of the pictures [px]; the height follows. As large as the game if not given.
        hud: What the heads-up display shows.
        title: Name of the policy, for the full heads-up display.
        context: What of its phase an observation shows, as in the run.
        shows_observation: Whether what the agent sees stands beside the game.
        **options: Options of the game.

    Raises:
        ValueError: If there is no such game or phase, or the width is not positive.
    """

    def __init__(
        self,
        game: str,
        schedule: Schedule,
        phase: int | str,
        *,
        width: int | None = None,
        hud: HUD = "full",
        title: str = "",
        context: ContextKind = HIDDEN,
        shows_observation: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if width is not None and width < 1:
            raise ValueError(f"width = {width} must be at least 1")
        self.env = gym.make(
            IDS[game],
            disable_env_checker=True,
            schedule=schedule,
            phase=phase,
            context=context,
            **options,
        )
        bare = self.env.unwrapped
        assert isinstance(bare, ArcadeEnv)
        self._bare = bare
        self.played, self.context = bare.game.name, bare.context.kind
        self._screen = Screen(bare.game, hud=hud != "none", width=width)
        self._panel: ObservationPanel | None = None
        self.shows_observation = shows_observation
        if shows_observation:
            self._panel = self._panel_of(bare.context.features)
        self._brief = hud == "brief"
        self._title = title

    def _panel_of(self, context: Sequence[Feature]) -> ObservationPanel:
        return ObservationPanel(self._bare.game, context, self._screen.size[1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures [px]."""
        width, height = self._screen.size
        return width + (self._panel.size[0] if self._panel else 0), height

    @property
    def points(self) -> str:
        """What the score counts."""
        return self._bare.game.points

    @property
    def status(self) -> Status:
        """The state of the episode, for the heads-up display."""
        info, clock = self._info, self._bare.clock
        return status_of(clock, info["phase"], info["params"], info["score"], self._title)

    def _picture(self, observation: Any, seen: npt.NDArray[Any], weighs: Weighs | None) -> Picture:
        status = self.status
        if self._brief:
            status = Status(status.score, None, status.phase, status.phases)
        picture = self._screen.picture(self._bare.state, status)
        if self._panel is None:
            return picture
        if self.context == INFERRED and len(seen[0]) > len(observation):
            tasks = range(len(seen[0]) - len(observation))
            about = "1 if it is the task that is inferred"
            self._panel = self._panel_of([Feature(f"task_{i}", 0.0, 1.0, about) for i in tasks])
            observation = seen[0]
        weights = None if weighs is None else weighs(seen)[0]
        return np.concatenate([picture, self._panel.draw(observation, weights)], axis=1)


@dataclass(frozen=True)
class Shot:
    """One of the films that are shown side by side."""

    camera: PhaseCamera
    """Films this one only."""
    policy: Policy
    headline: str
    """What sets it apart from the others."""
    detail: str = ""
    """Further information about the policy."""
    network: Network | None = None
    """By which weights it plays; what it is evaluated by if not given."""


def side_by_side(
    shots: Sequence[Shot], *, seed: int = FIRST_SEED, episodes: int = 1
) -> Iterator[Picture]:
    """Let several agents play the same episodes, step by step next to each other.

    A game that is lost stays as it was then, darkened, until all are over.

    Args:
        shots: The policies that play; all the same game and phase, in pictures of one size.
        seed: Seed of the first episode; each further one has the next, the same for all.
        episodes: Number of episodes.

    Returns:
        Pictures of shape ``(height, width, 3)``, each drawn when it is asked for, to be shown at
        ``FRAMES_PER_SECOND``. After each episode some show that it is over for all.

    Raises:
        ValueError: If nobody plays, pictures differ in size, or there is no episode.
    """
    sizes = {shot.camera.size for shot in shots}
    if len(sizes) != 1:
        raise ValueError(f"pictures side by side have one size, these have {sorted(sizes)}")
    if episodes < 1:
        raise ValueError(f"episodes = {episodes} must be at least 1")
    panels = Panels(sizes.pop(), len(shots), shots[0].camera.points)
    seeds = range(seed, seed + episodes)
    return chain.from_iterable(_episode(panels, shots, seed) for seed in seeds)


def _episode(panels: Panels, shots: Sequence[Shot], seed: int) -> Iterator[Picture]:
    films = [shot.camera.film(shot.policy, seed=seed, network=shot.network) for shot in shots]
    pictures = [next(film) for film in films]
    yield _compose(panels, shots, pictures, over=[False] * len(shots))
    while not all(shot.camera.over for shot in shots):
        # The picture in which somebody loses is shown as it is, and darkened from the next one on.
        over = [shot.camera.over for shot in shots]
        pictures = [next(film, last) for film, last in zip(films, pictures, strict=True)]
        yield _compose(panels, shots, pictures, over)
    last = _compose(panels, shots, pictures, over=[True] * len(shots))
    for _ in range(HOLD):
        yield last


def _compose(
    panels: Panels, shots: Sequence[Shot], pictures: Sequence[Picture], over: Sequence[bool]
) -> Picture:
    captions = [
        Caption(shot.camera.score, shot.headline, shot.detail, done)
        for shot, done in zip(shots, over, strict=True)
    ]
    # What is common to all is read from whoever has come furthest.
    status = max((shot.camera.status for shot in shots), key=lambda s: s.lifetime_step or 0)
    return panels.draw(pictures, captions, status)
