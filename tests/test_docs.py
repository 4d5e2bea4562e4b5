"""The documentation says what the code does: its examples run, its tables are the code's."""

import re
from pathlib import Path

import pytest

from continual_arcade.envs import GAMES, SHIPPED, make_game
from continual_arcade.envs.catcher import REWARDS as CATCHER_REWARDS
from continual_arcade.envs.flappy_bird import REWARDS as FLAPPY_REWARDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGE_OF = {"FlappyBird": ROOT / "docs" / "flappy_bird.md", "Catcher": ROOT / "docs" / "catcher.md"}
REWARDS = {"FlappyBird": FLAPPY_REWARDS, "Catcher": CATCHER_REWARDS}


def blocks(language: str) -> list[pytest.param]:  # type: ignore[valid-type]
    return [
        pytest.param(block, id=f"{page.name}:{number}")
        for page in PAGES
        for number, block in enumerate(
            re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        )
    ]


@pytest.mark.parametrize("code", blocks("python"))
def test_examples_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("text", blocks("toml"))
def test_schedules_in_the_documentation_are_schedules(text: str) -> None:
    from continual_arcade.envs.schedule_files import loads

    loads(text, ".toml").check(make_game("FlappyBird").tunables)


def rows(page: Path) -> dict[str, list[str]]:
    """The rows of all tables that begin with a name in code font, or a number and then one."""
    found = {}
    for line in page.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = [cell for cell in cells[:2] if re.fullmatch(r"`\w+`", cell)]
        if line.startswith("|") and names:
            found[names[0].strip("`")] = cells
    return found


@pytest.mark.parametrize("game", GAMES)
def test_every_feature_is_documented_in_order(game: str) -> None:
    table = rows(PAGE_OF[game])
    for number, feature in enumerate(make_game(game).features):
        assert table[feature.name][0] == str(number)


@pytest.mark.parametrize("game", GAMES)
def test_every_tunable_is_documented_with_its_bounds(game: str) -> None:
    table = rows(PAGE_OF[game])
    for name, tunable in make_game(game).tunables.items():
        _, default, bounds, unit, harder = table[name]
        assert float(default) == pytest.approx(tunable.default, rel=1e-5)
        assert bounds == f"{tunable.low:g} to {tunable.high:g}"
        assert unit.startswith(tunable.unit)
        assert harder.startswith(tunable.harder)


@pytest.mark.parametrize("game", GAMES)
def test_rewards_are_documented(game: str) -> None:
    table = rows(PAGE_OF[game])
    for name, value in REWARDS[game].items():
        assert float(table[name][1]) == value


def test_every_schedule_is_documented() -> None:
    text = (ROOT / "docs" / "schedules.md").read_text("utf-8")
    for name in SHIPPED:
        assert f"`{name}" in text


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_readme_names_only_commands_that_exist() -> None:
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"`make (\w+)`", text)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for script in set(re.findall(r"continual_arcade\.scripts\.(\w+)", text)):
        assert (ROOT / "scripts" / f"{script}.py").is_file(), script
