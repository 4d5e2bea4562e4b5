import base64
import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any

import pytest
import sample_pages as samples
from plotly.offline import get_plotlyjs

from continual_arcade.reports.pages.html import render
from continual_arcade.reports.pages.page_model import DataTable, Item, Page, Section

CLIP = b"not a film"
HTML = render(samples.full(CLIP))


@dataclass
class Parsed(HTMLParser):
    """What a browser would see of a page."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: list[tuple[dict[str, str | None], str]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._script: dict[str, str | None] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs)
            self.scripts.append((self._script, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        else:
            self.text += data


def parse(html: str) -> Parsed:
    parsed = Parsed()
    parsed.feed(html)
    return parsed


PAGE = parse(HTML)


def all_of(tag: str, page: Parsed = PAGE) -> list[dict[str, str | None]]:
    return [attributes for name, attributes in page.tags if name == tag]


def loaded(page: Parsed) -> list[str]:
    """Whatever would be fetched: everything that names another file."""
    names = ("src", "href", "data", "srcset", "poster", "action", "xlink:href")
    found = [a[n] or "" for _, a in page.tags for n in names if n in a]
    styles = " ".join(re.findall(r"url\([^)]*\)|@import[^;]*", page.text))
    return [*(name for name in found if not name.startswith("#")), *filter(None, [styles])]


def test_nothing_else_is_loaded() -> None:
    assert loaded(PAGE) == []


@pytest.mark.parametrize(
    "foreign",
    [
        '<script src="https://cdn.plot.ly/plotly.js"></script>',
        '<link rel="stylesheet" href="style.css">',
        '<img src="http://a/b.png">',
        "<style>@import 'a.css';</style>",
        "<p style='background: url(a.png)'></p><style>p { background: url(a.png) }</style>",
    ],
)
def test_what_would_be_loaded_is_found(foreign: str) -> None:
    assert loaded(parse(HTML.replace("<footer>", f"{foreign}<footer>")))


def test_plotly_is_there_once() -> None:
    assert HTML.count(get_plotlyjs()) == 1
    runnable = [text for attributes, text in PAGE.scripts if "type" not in attributes]
    assert len(runnable) == 2


def test_only_our_scripts_may_run() -> None:
    name = "Content-Security-Policy"
    (policy,) = [str(a["content"]) for a in all_of("meta") if a.get("http-equiv") == name]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    hashes = {
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for attributes, text in PAGE.scripts
        if "type" not in attributes
    }
    assert set(rules["script-src"].split()) == hashes
    assert "http" not in policy


def test_data_are_json() -> None:
    blocks = [text for attributes, text in PAGE.scripts if attributes.get("type")]
    assert len(blocks) == 1 + len(samples.charts())
    for block in blocks:
        json.loads(block)
        assert not set(block) & set("<>&")


def test_labels_are_text_everywhere() -> None:
    assert "<script>alert" not in HTML
    assert not any("alert(1)" in text for a, text in PAGE.scripts if "type" not in a)
    assert PAGE.text.count(samples.HOSTILE) >= 5
    assert "FlappyBird, <conflict>" in PAGE.text


def test_a_label_that_is_not_escaped_would_be_found() -> None:
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    broken = parse(HTML.replace(escaped, "<script>alert(1)</script>"))
    assert any("alert(1)" in text for a, text in broken.scripts if "type" not in a)


def headings(page: Parsed) -> list[int]:
    return [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]


def in_order(levels: list[int]) -> bool:
    pairs = itertools.pairwise(levels)
    return levels.count(1) == 1 and levels[0] == 1 and all(b <= a + 1 for a, b in pairs)


def test_headings_are_in_order() -> None:
    assert in_order(headings(PAGE))
    assert not in_order(headings(parse(HTML.replace("h3", "h4"))))


def test_every_reference_leads_somewhere_and_ids_are_unique() -> None:
    ids = [a["id"] for _, a in PAGE.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    wanted = {
        str(a[name]).removeprefix("#")
        for _, a in PAGE.tags
        for name in ("href", "aria-labelledby", "for")
        if name in a
    }
    assert wanted <= set(ids)


def test_pictures_and_films_say_what_they_show() -> None:
    pictures = [a for _, a in PAGE.tags if a.get("role") == "img"]
    assert [a["aria-label"] for a in pictures] == [chart.alt for chart in samples.charts()]
    films = all_of("video")
    assert len(films) == 3 * len(samples.METHODS)
    assert films[0]["aria-label"] == "finetune after nothing playing gap 100: 3 pipes"
    assert base64.b64decode(str(films[0]["data-film"])) == CLIP
    assert {"loop", "muted", "playsinline"} <= films[0].keys()
    assert (films[0]["width"], films[0]["height"]) == ("48", "80")


def test_every_method_has_a_toggle() -> None:
    assert [a["data-toggles"] for a in all_of("input") if "data-toggles" in a] == ["0", "1", "2"]
    rows = [a["data-method"] for a in all_of("tr") if "data-method" in a]
    assert rows == ["0", "1", "2"] * 2


def cells(page: Page) -> list[str]:
    return [
        re.sub("<[^>]*>", "", cell)
        for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", render(page).split("<main")[1])
    ]


def test_empty_cells_have_a_dash_and_their_note() -> None:
    found = cells(samples.page_of(samples.table()))
    assert found[3:6] == ["finetune", "9.5 \u00b1\xa01.1", "\u2013a"]
    assert found[-1] == "\u2013b"
    assert "0" not in found
    notes = re.findall(r'<li id="summary--note-\d"><sup>(.)</sup> ([^<]*)', HTML)
    assert notes == [("a", "There is one phase only."), ("b", "A run is missing.")]


def test_folded_tables_are_folded() -> None:
    assert '<article class="item" id="again"' in HTML
    folded = HTML.split('id="again"')[1].split("</article>")[0]
    assert folded.index("<details>") < folded.index("<table ") < folded.index("</details>")
    assert "<details>" not in HTML.split('id="summary"')[1].split("</article>")[0]


def test_frames_have_a_slider_with_its_name() -> None:
    (slider,) = [a for a in all_of("input") if a.get("type") == "range"]
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "2", "2")
    assert slider["aria-valuetext"] == "step 3,000"
    assert json.loads(str(slider["data-names"])) == ["step 1,000", "step 2,000", "step 3,000"]


@pytest.mark.parametrize(
    "page",
    [
        Page("", "", (), (), ()),
        Page("Empty", "", ("finetune",), (), (Section("a", "A"),)),
        samples.page_of(DataTable(key="t", title="", columns=(), rows=())),
        samples.page_of(DataTable(key="t", title="", columns=("a",), rows=()), methods=()),
        samples.page_of(samples.lines(methods=("one",)), methods=("one",)),
        samples.page_of(samples.lines(methods=("one",)), methods=("none has data", "one")),
    ],
)
def test_pages_with_little_on_them(page: Page) -> None:
    parsed = parse(render(page))
    assert loaded(parsed) == []
    assert in_order(headings(parsed))


def test_many_footnotes() -> None:
    table = replace(
        samples.table(), notes=tuple(map(str, range(30))), noted=((0, 0, 25), (0, 1, 26))
    )
    assert cells(samples.page_of(table))[3:5] == ["finetunez", "9.5 \u00b1\xa01.1aa"]


def test_an_item_of_an_unknown_kind() -> None:
    with pytest.raises(TypeError, match="Item"):
        render(samples.page_of(Item(key="a", title="")))


def test_the_same_page_is_the_same_text() -> None:
    assert render(samples.full(CLIP)) == HTML


def test_two_hundred_films_fit_into_15_mb() -> None:
    clip = b"\xff" * 30_000
    strip = samples.strip("films", "finetune", clip)
    row: tuple[Any, ...] = (strip.clips[1][0],) * 20
    grid = replace(
        strip,
        rows=tuple(map(str, range(10))),
        columns=tuple(map(str, range(20))),
        clips=(row,) * 10,
    )
    items = [replace(chart, key=f"{chart.key}-{i}") for i in range(3) for chart in samples.charts()]
    assert len(render(samples.page_of(grid, *items)).encode()) < 15_000_000
