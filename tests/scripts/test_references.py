"""The command that makes references, and whether it makes those that are shipped."""

import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import paths_under

from continual_arcade.envs import GAMES, IDS, PhaseSpec, Schedule, make_game, shipped
from continual_arcade.envs.curricula import schedules_of
from continual_arcade.envs.tunables import resolve
from continual_arcade.evaluation import Evaluator, Reference, shipped_references
from continual_arcade.evaluation.locks import Lock, LockedError
from continual_arcade.evaluation.reference_files import load
from continual_arcade.evaluation.references import VALUES
from continual_arcade.scripts import references
from continual_arcade.studies import scenario as scenarios
from continual_arcade.studies.references import RandomPlayer, measure, outcomes

SHIPPED_ONES = list(shipped_references())
FEW = ["--episodes", "3", "--max-steps", "300"]


def of_game(game: str) -> list[Reference]:
    return [one for one in SHIPPED_ONES if one.env == IDS[game]]


def again(game: str, one: Reference) -> Reference:
    return measure(
        game,
        one.params,
        max_steps=one.max_steps,
        episodes=one.episodes,
        first_seed=one.first_seed,
        random_seed=one.random_seed,
        making=dict(one.making),
    )


def bare(params: Any, tunables: Any) -> dict[str, float]:
    """Return parameters without looks, of which the bare game knows nothing."""
    looks = [name for name in params if name not in tunables]
    assert all(name.endswith("_rgb") or name in ("inverted", "mirrored") for name in looks)
    return {name: value for name, value in params.items() if name in tunables}


def test_the_shipped_ones_are_all_that_is_shipped() -> None:
    """Pictures of a game need none of their own: looks change no score."""
    expected = {
        (IDS[game], tuple(sorted(resolve(make_game(game).tunables, phase.params).items())))
        for game in GAMES
        for name in ("stationary", *schedules_of(make_game(game)))
        for phase in shipped(name, make_game(game)).distinct
    } | {
        (IDS[one.game], tuple(sorted(resolve(tunables, bare(phase.params, tunables)).items())))
        for one in map(scenarios.find, scenarios.names())
        if one.game in GAMES  # of labels the share of right answers is its own scale
        for tunables in (make_game(one.game).tunables,)
        for phase in one.schedule.distinct
    }
    assert {(one.env, tuple(sorted(one.params.items()))) for one in SHIPPED_ONES} == expected


@pytest.mark.parametrize("number", [0, -1])
def test_playing_again_gives_the_same_bits(number: int) -> None:
    one = of_game("Catcher")[number]
    assert again("Catcher", one) == one
    assert again("Catcher", replace(one, random_seed=1)) != one  # so it is the seeds that tell


@pytest.mark.slow
@pytest.mark.parametrize("game", GAMES)
def test_playing_all_again_gives_the_same_bits(game: str) -> None:
    for one in of_game(game):
        assert again(game, one) == one


def test_random_play_of_flappy_bird_gives_the_same_bits() -> None:
    for one in of_game("FlappyBird"):
        alone = Schedule("s", (PhaseSpec(name="s", steps=1, params=one.params),))
        evaluator = Evaluator("FlappyBird", alone, episodes=one.episodes, max_steps=one.max_steps)
        actions: Any = evaluator.env.single_action_space
        player = RandomPlayer(actions, one.random_seed)
        assert outcomes(evaluator, player) == one.outcomes["random"]


def test_the_oracle_is_better_than_random_play_by_far() -> None:
    for one in SHIPPED_ONES:
        for value in VALUES:
            assert one.distance(value) > 100 * one.error(value) >= 0
            assert one.error(value) < 0.2
    assert {one.outcomes["oracle"]["score"].mean for one in of_game("FlappyBird")} == {47.0}


def test_a_catcher_that_is_faster_has_more_to_catch() -> None:
    """Oracles do not miss, so what they catch in the same time goes with the speed."""
    alike = [one for one in of_game("Catcher") if one.params["push"] > 0]
    ordered = sorted(alike, key=lambda one: one.params["fall_speed"])
    caught = [one.outcomes["oracle"]["score"].mean for one in ordered]
    assert caught == sorted(caught)


def test_mean_and_spread_are_those_of_the_episodes() -> None:
    params = resolve(make_game("Catcher").tunables, {"fall_speed": 22.0})
    alone = Schedule("s", (PhaseSpec(name="s", steps=1, params=params),))
    evaluator = Evaluator("Catcher", alone, episodes=5)
    actions: Any = evaluator.env.single_action_space
    scores = evaluator.play(RandomPlayer(actions, 4)).scores[0]
    found = outcomes(evaluator, RandomPlayer(actions, 4))["score"]
    assert found.mean == pytest.approx(scores.mean())
    assert found.spread == pytest.approx(scores.std(ddof=1))
    assert found.spread != pytest.approx(scores.std())


def test_the_global_random_state_does_not_matter(tmp_path: Path) -> None:
    texts = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        path = tmp_path / f"{seed}.json"
        references.main(["--game", "Catcher", "--schedule", "cycle", "--out", str(path), *FEW])
        texts.append([one.outcomes for one in load(path)])
    assert texts[0] == texts[1]


def test_a_file_that_exists_keeps_what_is_not_played_again(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "references.json"
    mine = Schedule("mine", (PhaseSpec(name="a", steps=1, params={"fall_speed": 30.0}),))
    (tmp_path / "mine.json").write_text(json.dumps(mine.to_dict()))
    on_catcher = ["--game", "Catcher", "--out", str(path), *FEW]
    references.main([*on_catcher, "--schedule", "stationary"])
    (first,) = load(path)
    references.main([*on_catcher, "--schedule", str(tmp_path / "mine.json"), "--schedule", "cycle"])
    assert len(load(path)) == 1 + 1 + 3
    assert first in list(load(path))
    assert paths_under(tmp_path) == {}  # of the command, which it names, what anybody can run
    references.main([*on_catcher, "--schedule", "stationary", "--seed", "5"])
    again = {one.key: one for one in load(path)}
    assert len(again) == 5
    assert again[first.key].random_seed == 5
    assert "--seed 5" in again[first.key].making["command"]
    assert len({str(one.making) for one in again.values()}) == 2  # the first one is in use no more
    assert not list(tmp_path.glob(".unfinished*"))


def test_what_another_process_adds_meanwhile_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "references.json", tmp_path / "other.json"
    on_catcher = ["--game", "Catcher", *FEW]
    references.main([*on_catcher, "--schedule", "cycle", "--out", str(other)])
    save, refusals = references.save, []

    def save_slowly(found: Any, out: Path) -> None:
        with ThreadPoolExecutor(1) as threads:
            refusals.append(threads.submit(Lock.of_file(path).acquire).exception())
        save(found, out)

    def played(*arguments: Any, **settings: Any) -> Reference:
        shutil.copy(other, path)
        return measure(*arguments, **settings)

    monkeypatch.setattr(references, "save", save_slowly)
    monkeypatch.setattr(references, "measure", played)
    references.main([*on_catcher, "--schedule", "stationary", "--out", str(path)])
    assert [type(refusal) for refusal in refusals] == [LockedError]
    assert len(load(path)) == 4


def test_a_scenario_says_which_game_is_played(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def played(game: str, *_: Any, **__: Any) -> Reference:
        asked.append(game)
        return SHIPPED_ONES[0]

    monkeypatch.setattr(references, "measure", played)
    both = ["--schedule", "catcher-conflict", "--schedule", "tour", "--episodes", "2"]
    references.main([*both, "--out", str(tmp_path / "made.json")])
    assert set(asked) == {"Catcher", "Tour"}
    assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes", "1"], "episodes = 1 must be at least 2"),
        (["--seed", "-1"], "seed = -1"),
        (["--first-seed", "-1"], "first_seed = -1"),
        (["--max-steps", "0"], "max_steps = 0"),
        (["--schedule", "shrnk"], "did you mean 'shrink'"),
        (["--schedule", "mine.toml"], "name it with --game"),
        (["--schedule", "tour", "--game", "Catcher"], "is one of Tour, not of Catcher"),
        (["--schedule", "lunar-lander-wind"], "is one of other people's environments"),
        (["--schedule", "mine.toml", "--game", "Catcher"], "mine.toml"),
        (["--out", "nowhere/references.json"], "nowhere is no folder"),
        (["--out", "broken.json"], "broken.json: damaged"),
    ],
)
def test_mistakes_are_said_before_anything_is_played(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{")
    with pytest.raises(SystemExit, match="2"):
        references.main(arguments)
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["broken.json"]
