"""The documentation says what the code does: its examples run, its tables are the code's."""

import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from fnmatch import fnmatch
from inspect import Parameter
from pathlib import Path
from typing import Any

import pytest
import tyro

from continual_arcade.agents import METHODS, DQNSettings
from continual_arcade.agents.algorithms.catalogue import ALGORITHMS
from continual_arcade.agents.methods import PARTS, REPLAYS, parse_part
from continual_arcade.agents.methods.catalogue import PRESETS, check_together, setting_types
from continual_arcade.agents.replay import TransitionReplayBuffer
from continual_arcade.envs import GAMES, SHIPPED, STREAMS, make_game
from continual_arcade.envs.digits import SOURCE
from continual_arcade.envs.images import SOURCES
from continual_arcade.envs.wrappers import WRAPPERS
from continual_arcade.evaluation.metrics import METRICS
from continual_arcade.scripts.options import TrainMany
from continual_arcade.scripts.scenario import HEADINGS, row
from continual_arcade.scripts.training import spec_of
from continual_arcade.studies import cards
from continual_arcade.studies import scenario as scenarios

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = {path.read_text("utf-8") for path in (ROOT / "examples").glob("*.py")}
"""Run by ``test_examples.py``, with arguments that make them short."""
MODULE_OF = {game: inspect.getmodule(make_game(game).maker) for game in GAMES}
PAGE_OF = {
    game: ROOT / "docs" / f"{module.__name__.rpartition('.')[2]}.md"  # type: ignore[union-attr]
    for game, module in MODULE_OF.items()
}
STREAMS_PAGE = ROOT / "docs" / "streams.md"
METHOD_PAGES = ROOT / "docs" / "methods"
INDEX = METHOD_PAGES / "README.md"
PART_PAGE = {name: METHOD_PAGES / f"{name.replace('-', '_')}.md" for name in PARTS}
PART_PAGE["reset"] = METHOD_PAGES / "from_scratch.md"


def blocks(language: str) -> list[pytest.param]:  # type: ignore[valid-type]
    """Examples; those of the pages of methods are alike, and of them some are enough."""
    return [
        pytest.param(
            block,
            id=f"{page.relative_to(ROOT)}:{number}",
            marks=pytest.mark.one_in(3) if page in PART_PAGE.values() else (),
        )
        for page in PAGES
        for number, block in enumerate(
            re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        )
        if block not in EXAMPLES
    ]


@pytest.mark.parametrize("code", blocks("python"))
def test_examples_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("text", blocks("toml"))
def test_toml_in_the_documentation_is_what_it_says(text: str, tmp_path: Path) -> None:
    from continual_arcade.envs.schedule_files import loads
    from continual_arcade.studies import tuning
    from continual_arcade.studies.scenario import Scenario
    from continual_arcade.studies.study import read

    data = tomllib.loads(text)
    if "seeds" in data:
        read(data, ROOT).check()
    elif not data.keys().isdisjoint({"game", "environment"}):
        Scenario.from_dict(data)
    elif "methods" in data:  # of a tuning
        head = 'format = 1\nname = "one"\ngames = ["Catcher"]\nschedules = ["conflict"]\n'
        (tmp_path / "one.toml").write_text(f'{head}seeds = "1000"\ntrials = 9\n{text}', "utf-8")
        assert all(candidate.search for candidate in tuning.load(tmp_path / "one.toml").candidates)
    else:
        loads(text, ".toml").check(make_game("FlappyBird").tunables)


def rows(page: Path, game: str = "") -> dict[str, list[str]]:
    """The rows of all tables that begin with a name in code font, or a number and then one.

    With a game only those of its section.
    """
    found = {}
    text = page.read_text("utf-8")
    if game:
        text = text.partition(f"\n## `{game}`\n")[2].partition("\n## ")[0]
    for line in text.splitlines():
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


@pytest.mark.parametrize("game", [*GAMES, *STREAMS])
def test_every_tunable_is_documented_with_its_bounds(game: str) -> None:
    table = rows(STREAMS_PAGE, game) if game in STREAMS else rows(PAGE_OF[game])
    for name, tunable in make_game(game).tunables.items():
        _, default, bounds, unit, harder = table[name]
        assert float(default) == pytest.approx(tunable.default, rel=1e-5)
        assert bounds == f"{tunable.low:g} to {tunable.high:g}"
        assert unit.startswith(tunable.unit)
        assert harder.startswith(tunable.harder)


@pytest.mark.parametrize("game", GAMES)
def test_rewards_are_documented(game: str) -> None:
    table = rows(PAGE_OF[game])
    for name, value in MODULE_OF[game].REWARDS.items():  # type: ignore[union-attr]
        assert float(table[name][1]) == value


def test_every_source_of_images_is_documented() -> None:
    text = STREAMS_PAGE.read_text("utf-8")
    for source in SOURCES:
        assert f'| `"{source}"` ' in text
    assert f'`"{SOURCE}"` (default)' in text


def test_every_schedule_is_documented() -> None:
    text = (ROOT / "docs" / "schedules.md").read_text("utf-8")
    for name in ("stationary", *SHIPPED):  # all that a command takes
        assert f"| `{name}" in text


def test_every_scenario_is_documented_as_it_is() -> None:
    (table,) = (t for t in tables(ROOT / "docs" / "scenarios.md") if t[0] == [*HEADINGS])
    assert [tuple(cells) for cells in table[2:]] == [
        (f"`{name}`", *row(scenarios.find(name))[1:]) for name in scenarios.names()
    ]


def test_every_wrapper_that_data_may_name_is_documented_as_it_is() -> None:
    head = ["wrapper", "arguments", "what it does"]
    (table,) = (t for t in tables(ROOT / "docs" / "other-games.md") if t[0] == head)

    def shown(parameter: Parameter) -> str:
        default = parameter.default
        return f"`{parameter.name}`" + ("" if default is Parameter.empty else f" ({default:g})")

    assert table[2:] == [
        [f"`{name}`", ", ".join(map(shown, kind.arguments.values())), kind.about]
        for name, kind in WRAPPERS.items()
    ]


def test_the_cards_of_scenarios_are_documented_as_they_are() -> None:
    """And each is of its scenario as it is now: an edited one has to be measured again."""
    expected = []
    for scenario in map(scenarios.find, scenarios.names()):
        path = cards.place(scenario)
        assert path is not None
        if path.exists():
            found = cards.read(path, scenario)["properties"]
            # The page is no part of the wheel.
            page = Path("studies", "scenarios", cards.FOLDER, path.with_suffix(".md").name)
            assert (ROOT / page).is_file()
            assert (ROOT / page).with_suffix(".png").stat().st_size > 1000
            cells = [f"[{scenario.name}](../{page})", *map(measured, found)]
            expected.append(cells)
            head = ["scenario", *(one["name"] for one in found)]
    (table,) = (t for t in tables(ROOT / "docs" / "scenarios.md") if t[0] == head)
    assert table[2:] == expected


def measured(data: dict[str, Any]) -> str:
    """How the table of all cards has a property."""
    if "value" not in data:
        return "-"
    value = f"{data['value']:.2f}"
    return f"**{value}**" if data["verdict"] == "missed" else value


def tables(page: Path) -> list[list[list[str]]]:
    """All tables of a page, each as rows of cells, the header first."""
    found: list[list[list[str]]] = []
    before = ""
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            found[-1].append([cell.strip() for cell in line.removesuffix("|")[1:].split("|")])
        before = line
    return found


def documented(page: Path) -> dict[str, str]:
    """The settings that a page names, in order, and their defaults."""
    return {
        row[0].strip("`"): row[1]
        for header, _, *rest in tables(page)
        if header == ["setting", "default", "unit", "meaning"]
        for row in rest
    }


def in_words(defaults: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in defaults.items()}


def own_defaults(replay: type[TransitionReplayBuffer]) -> dict[str, Any]:
    """What a kind of replay can be told on the command line."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(replay).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        and name not in inspect.signature(TransitionReplayBuffer).parameters
    }


def test_every_method_is_in_the_index_as_it_is() -> None:
    (table,) = (t for t in tables(INDEX) if t[0][:3] == ["method", "replay", "parts"])
    *cells, pages = zip(*table[2:], strict=True)
    assert list(zip(*cells, strict=True)) == [index_row(name) for name in METHODS]
    for name, page in zip(METHODS, pages, strict=True):
        found = re.fullmatch(r"\[\w+\]\((\w+\.md)(#[\w-]+)?\)", page)
        assert found, name
        text = (METHOD_PAGES / found[1]).read_text("utf-8")
        authors = re.findall(r"([A-Z]\w+)(?: et al\.| and \w+)? (\d{4})", PRESETS[name].source)
        assert authors, name
        for author, year in authors:
            assert author in text, name
            assert year in text, name


def index_row(name: str) -> tuple[str, ...]:
    """What the index says of a method, but for its page."""
    method = METHODS[name]
    needed = any(part.needs_boundaries for part in method.make_parts())
    return (
        f"`{name}`",
        f"`{method.replay}`",
        ", ".join(f"`{part}`" for part in method.parts),
        "yes" if needed else "no",
        PRESETS[name].source,
    )


def test_the_index_is_found_out_if_it_is_not_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    test_every_method_is_in_the_index_as_it_is()
    other = replace(PRESETS["ewc"], source="Zenke et al. 2017")
    monkeypatch.setitem(PRESETS, "ewc", other)
    with pytest.raises(AssertionError):
        test_every_method_is_in_the_index_as_it_is()
    monkeypatch.undo()
    monkeypatch.setitem(METHODS, "another", METHODS["ewc"])
    monkeypatch.setitem(PRESETS, "another", PRESETS["ewc"])
    with pytest.raises(AssertionError):
        test_every_method_is_in_the_index_as_it_is()


def test_the_file_of_a_method_in_the_documentation_is_one(
    tmp_path: Path, strict: list[str]
) -> None:
    text = INDEX.read_text("utf-8")
    (name,) = re.findall(r"This one is `(\w+\.py)`", text)
    (file,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "PRESETS" in b)
    (tmp_path / name).write_text(file)
    (method,) = re.findall(r"CONTINUAL_ARCADE_METHODS=.* --method ([\w-]+)", text)
    command = f"from continual_arcade.agents import METHODS; print(METHODS[{method!r}].text)"
    ran = subprocess.run(
        [sys.executable, *strict, "-c", command],
        env={**os.environ, "CONTINUAL_ARCADE_METHODS": str(tmp_path)},
        text=True,
        capture_output=True,
    )
    assert ran.stdout == "All parameters are pulled towards zero (Krogh and Hertz 1991).\n", ran


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_in_the_index(part: str) -> None:
    text = INDEX.read_text("utf-8")
    assert f"`{part}`" in text
    assert f"({PART_PAGE[part].name}" in text


@pytest.mark.parametrize("part", PARTS)
def test_every_setting_of_a_part_is_documented_with_its_default(part: str) -> None:
    found, made = documented(PART_PAGE[part]), PARTS[part]()
    assert list(found) == list(setting_types(PARTS[part]))
    assert found == in_words(made.settings)
    # And they can be written so on a command line.
    text = ",".join(f"{name}={value}" for name, value in found.items())
    assert parse_part(f"{part}:{text}") == made


def composes(part: str) -> set[str]:
    """The names in what a page says of the parts that its own stands beside, or does not."""
    text = PART_PAGE[part].read_text("utf-8")
    (found,) = re.findall(r"\*\*Composes\*\*(.*?)\n\n", text, re.DOTALL)
    like = re.match(r" as \[`([\w-]+)`\]", found)
    return {*re.findall(r"`([\w-]+)`", found), *(composes(like[1]) if like else ())}


def excludes(part: str, other: str) -> bool:
    try:
        check_together([PARTS[part](), PARTS[other]()])
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("part", PARTS)
def test_every_part_that_another_one_excludes_is_named_on_its_page(part: str) -> None:
    others = PARTS.keys() - {part}
    excluded = {other for other in others if excludes(part, other)}
    # Or those are named that it does not exclude, if they are fewer.
    assert composes(part) >= excluded or composes(part) >= others - excluded


def test_a_part_that_is_not_named_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PARTS["clear"], "conflicts", frozenset({"clone", "mer"}))
    for part in ("clear", "mer"):
        with pytest.raises(AssertionError):
            test_every_part_that_another_one_excludes_is_named_on_its_page(part)


def test_every_setting_of_the_learner_is_documented_with_its_default() -> None:
    settings = DQNSettings()
    defaults = in_words({f.name: getattr(settings, f.name) for f in fields(settings)})
    assert documented(METHOD_PAGES / "finetune.md") == defaults
    options = documented(METHOD_PAGES / "network_options.md")
    named = ("activation", "heads", "inputs", "layer_norm", "dropout")
    assert options == {name: defaults[name] for name in named}


def test_every_algorithm_is_documented_with_its_settings() -> None:
    page = ROOT / "docs" / "algorithms.md"
    (listed, *others) = tables(page)
    of_settings = [table for table in others if table[0] == ["setting", "default", "meaning"]]
    assert [row[0] for row in listed[2:]] == ["`dqn` (default)", *(f"`{n}`" for n in ALGORITHMS)]
    for cells, algorithm, table in zip(listed[3:], ALGORITHMS.values(), of_settings, strict=True):
        assert cells[1:3] == [algorithm.about, algorithm.source]
        assert ("[contrib]" in cells[3]) == (algorithm.extra == "contrib")
        default = algorithm.settings()
        assert [tuple(each[:2]) for each in table[2:]] == [
            (f"`{f.name}`", str(getattr(default, f.name))) for f in fields(default)
        ]


def test_every_kind_of_replay_is_documented_with_its_settings() -> None:
    page = METHOD_PAGES / "replay.md"
    (table,) = (t for t in tables(page) if t[0][0] == "kind")
    assert [row[0].strip("`") for row in table[2:]] == list(REPLAYS)
    text = page.read_text("utf-8")
    for name in REPLAYS:
        assert f"\n## {name.capitalize()}\n" in text
    expected: dict[str, Any] = {}
    for replay in REPLAYS.values():
        expected |= own_defaults(replay)
    assert documented(page) == in_words(expected)


@pytest.mark.parametrize("page", sorted(METHOD_PAGES.glob("*.md")), ids=lambda page: page.name)
def test_every_page_of_a_method_has_what_is_looked_for(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "```python" in text
    assert "python -m continual_arcade.scripts.train" in text
    if page != INDEX:
        for piece in ("$$", "Source:", "iffers", "**When:**", "**When not:**", "**Composes**"):
            assert piece in text, piece
        assert "**Log:**" in text or "## Log" in text
        assert f"({page.name}" in INDEX.read_text("utf-8")


MAP = ROOT / "docs" / "architecture.md"
FOLDERS = ("scripts", "studies", "reports", "evaluation", "agents", "envs")


def maps() -> dict[str, dict[str, int]]:
    """Which row of the tables of the architecture page each module and folder of a folder has."""
    found: dict[str, dict[str, int]] = {}
    for header, _, *rest in tables(MAP):
        if folder := re.fullmatch(r"in `([\w/]+)/`", header[0]):
            numbered = enumerate(re.findall(r"`([\w.]+/?)`", row[0]) for row in rest)
            found[folder[1]] = {name: number for number, names in numbered for name in names}
    return found


def misplaced(folder: str, row_of: Mapping[str, int]) -> Iterator[str]:
    """What imports a module that stands above it."""
    package = f"continual_arcade.{folder.replace('/', '.')}"
    for name in row_of:
        place = ROOT / folder / name
        for path in place.rglob("*.py") if place.is_dir() else [place]:
            for tail, names in re.findall(
                rf"^from {re.escape(package)}((?:\.\w+)*) import (.*)",
                path.read_text("utf-8"),
                re.MULTILINE,
            ):
                for module in [tail.split(".")[1]] if tail else re.findall(r"\w+", names):
                    above = min(row_of.get(f"{module}{end}", 99) for end in (".py", "/"))
                    if above < row_of[name]:
                        yield f"{path.relative_to(ROOT)} imports {module}"


def test_the_map_of_the_code_is_complete_and_in_the_order_of_imports() -> None:
    assert {"agents", "agents/methods", "evaluation", "reports", "studies"} <= maps().keys()
    for folder, row_of in maps().items():
        files = {path.name for path in (ROOT / folder).glob("[!_]*.py")}
        folders = {f"{path.parent.name}/" for path in (ROOT / folder).glob("*/__init__.py")}
        assert row_of.keys() == files | folders, folder
        assert not list(misplaced(folder, row_of))


def test_a_map_in_another_order_is_found_out() -> None:
    row_of = maps()["agents/methods"]
    swapped = {**row_of, "ewc.py": row_of["base.py"], "base.py": row_of["ewc.py"]}
    assert "agents/methods/ewc.py imports quadratic" in list(misplaced("agents/methods", swapped))


def test_every_path_on_the_map_exists() -> None:
    paths = [path for folder in (*FOLDERS, "tests") for path in (ROOT / folder).rglob("*")]
    there = [f"/{path.relative_to(ROOT)}{'/' * path.is_dir()}" for path in paths]
    there += [f"/{folder}/" for folder in (*FOLDERS, "build/typing")]
    for name in re.findall(r"`([\w/]+(?:\.\w+|/))`", MAP.read_text("utf-8")):
        if name.endswith((".py", ".cfg", "/")) and not (ROOT / name).exists():
            assert any(path.endswith(f"/{name}") for path in there), name


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


def train_lines() -> list[str]:
    """Return what every documented `train` is given, each once; not what stands for options."""
    places = [*PAGES, *(ROOT / "examples").glob("*.py")]
    texts = [page.read_text("utf-8").replace("\\\n", " ") for page in places]
    command = r"(?:python -m continual_arcade\.scripts\.|continual-arcade-)train ([^\n`#)]*)"
    found = {given for text in texts for given in re.findall(command, text)}
    whole = {re.split(r" \d?[>|]|\.(?= )", f" {given}")[0].strip() for given in found}
    whole -= {"", "--help", "--schedule conflict --method weight-decay"}  # that is one's own
    return sorted(given for given in whole if "--resume" not in given)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("given", train_lines())
def test_every_documented_training_can_be_asked_for(given: str) -> None:
    """And says what it is to do; that of other people's games without what they need."""
    args = tyro.cli(TrainMany, args=shlex.split(given))
    spec_of(replace(args, seed=0))


def test_every_metric_is_documented_as_it_is() -> None:
    page = ROOT / "docs" / "metrics.md"
    (table,) = (t for t in tables(page) if t[0][:2] == ["name", "formula"])
    assert table[2:] == [
        [
            f"`{metric.name}`",
            metric.formula,
            metric.source,
            metric.better or "-",
            ", ".join(sorted(metric.needs)) or "-",
        ]
        for metric in METRICS.values()
    ]
    # Which exposure counts where a phase comes back is said of each, too.
    (exposures,) = (t for t in tables(page) if t[0] == ["metric", "which exposure counts"])
    said = re.findall(r"`([^`]+)`", "".join(row[0] for row in exposures))
    for name, metric in METRICS.items():
        covered = any(fnmatch(name, pattern) for pattern in said)
        assert covered or name.startswith("performance@") or metric.needs or name == "ra@mer", name
    for pattern in said:
        assert any(fnmatch(name, pattern) for name in METRICS), pattern
