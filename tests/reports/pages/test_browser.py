"""Pages in a real browser: what must hold, and pages broken on purpose that are found out."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sample_pages as samples
from playwright.sync_api import Browser, Page, expect
from watched_pages import PATIENCE, Open, drawn, opened_once, resize, settle, unfold

from continual_arcade.reports.pages import page_model
from continual_arcade.reports.pages.html import render
from continual_arcade.reports.pages.style import DARK, LIGHT

PHONE = {"width": 360, "height": 740}
CHARTS = [chart.key for chart in samples.charts()]


def read_through(page: Page) -> None:
    """Bring every chart into view, and wait until it is drawn."""
    for plot in page.locator(".plot").all():
        if plot.is_visible():
            drawn(plot)


def traces(page: Page, key: str) -> int:
    """Count what is drawn in the first panel of a chart."""
    plot = drawn(page.locator(f"#{key} .plot").first)
    return plot.locator(".scatterlayer .trace, .barlayer .trace").count()


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


# A page opens


POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
TINY = "<!doctype html><html lang='en'><head>{head}<title>Tiny</title></head><body>{body}</body>"


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("<script>undefinedFunction()</script>", "undefinedFunction is not defined"),
        ("<script>console.warn('look out')</script>", "look out"),
        ("<script>Promise.reject(new Error('left alone'))</script>", "left alone"),
        ('<img alt="" src="http://127.0.0.1:9/a.png">', "asked for http://127.0.0.1:9/a.png"),
        ("<script>fetch('http://127.0.0.1:9/')</script>", "asked for http://127.0.0.1:9/"),
        ('<img alt="" src="missing.png">', "failed"),
    ],
)
def test_what_goes_wrong_is_noticed(open_page: Open, wrong: str, complaint: str) -> None:
    open_page(TINY.format(head="", body=wrong), broken=True).wait_for(
        lambda said: complaint in said
    )


@pytest.mark.parametrize(
    "foreign",
    [
        '<img alt="" src="http://127.0.0.1:9/a.png">',
        "<style>@import 'http://127.0.0.1:9/a.css';</style>",
        "<script>document.title = 'changed'; fetch('http://127.0.0.1:9/')</script>",
    ],
)
def test_pages_forbid_what_is_foreign(open_page: Open, html: str, foreign: str) -> None:
    (policy,) = POLICY.findall(html)
    watched = open_page(TINY.format(head=policy, body=foreign), broken=True)
    # Whatever was asked for was refused.
    watched.wait_for(
        lambda said: (
            "Content Security Policy" in said and said.count("asked for") == said.count(": csp")
        )
    )
    assert watched.page.title() == "Tiny"


@pytest.mark.slow
def test_pages_with_little_on_them(open_page: Open) -> None:
    nothing = page_model.LineChart(key="a", title="", alt="", x_label="", y_label="", panels=())
    one = samples.lines(methods=("one",))
    for page in (
        page_model.Page("", "", (), (), ()),
        samples.page_of(nothing, one, methods=("has no data", "one")),
    ):
        read_through(open_page(render(page)).page)


def test_charts_wait_until_they_are_seen(open_page: Open) -> None:
    charts = [samples.lines(f"chart-{i}") for i in range(20)]
    page = open_page(render(samples.page_of(*charts))).page
    drawn(page.locator("#chart-0 .plot").first)
    assert 0 < page.locator(".plot:not(.outdated)").count() < 20
    drawn(page.locator("#chart-19 .plot").first)
    # What was jumped over was not drawn.
    assert page.locator(".plot:not(.outdated)").count() < 20


# Methods


def shown(page: Page) -> dict[str, int]:
    """Count what there is of all methods, in each place where they can be hidden."""
    return {key: traces(page, key) for key in ("curves", "profile", "bars")} | {
        selector: page.locator(selector).filter(visible=True).count()
        for selector in (
            *("#forgetting .plot", "#interference .plot", "#buffer .plot"),
            *("#summary tbody tr", "#curves .numbers tbody tr", ".films", "video"),
        )
    }


def test_a_toggle_hides_a_method_everywhere(desktop: Page) -> None:
    page = desktop
    assert unfold(page, "curves").count() == 2 * 3 * 4
    everything = shown(page)
    page.get_by_role("checkbox", name=samples.LONG).uncheck()
    left = shown(page)
    assert left == {place: count * 2 // 3 for place, count in everything.items()}
    assert page.get_by_role("row", name=samples.LONG).count() == 0
    rows = unfold(page, "profile")
    assert rows.filter(visible=True).count() == 2 * 5
    page.get_by_role("button", name="Show all").click()
    assert shown(page) == everything
    assert rows.filter(visible=True).count() == 3 * 5


NINE = tuple(f"method {i}" for i in range(9))


@pytest.fixture(scope="module")
def another(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """More methods than colours, and charts of one method that has remarks in its cells."""
    (first, *_) = samples.bars().bars
    bars = replace(samples.bars(), bars=tuple(replace(first, label=label) for label in NINE))
    remarks = ((("<b>why</b>",) * 3,) * 2,)
    heat = samples.heat()
    heat = replace(heat, panels=(replace(heat.panels[2], hover=remarks),))
    lines = samples.lines(methods=(samples.HOSTILE,))
    html = render(samples.page_of(bars, lines, heat, methods=(*NINE, samples.HOSTILE)))
    watched = opened_once(browser, html, tmp_path_factory.mktemp("another"))
    yield watched.page
    assert watched.complaints == []
    watched.page.close()


def test_hatched_bars_have_the_colour_of_their_method(another: Page) -> None:
    drawn(another.locator("#bars .plot"))
    hatched = another.locator("#bars pattern rect").evaluate_all(
        "all => all.map(r => getComputedStyle(r).fill)"
    )
    assert set(hatched) == {rgb(LIGHT.methods[0])}


# Frames


def first_cells(page: Page) -> list[str]:
    plots = [drawn(plot) for plot in page.locator("#interference .plot").all()]
    return [plot.locator(".textpoint text").first.text_content() or "" for plot in plots]


def test_the_slider_moves_all_panels(desktop: Page) -> None:
    page = desktop
    slider = page.get_by_role("slider", name="Checkpoint")
    assert first_cells(page) == ["2.0", "3.0", "4.0"]
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#interference output")).to_have_text("step 1,000")
    expect(slider).to_have_attribute("aria-valuetext", "step 1,000")
    assert first_cells(page) == ["0.0", "1.0", "2.0"]
    page.keyboard.press("ArrowRight")
    expect(page.locator("#interference output")).to_have_text("step 2,000")
    assert first_cells(page) == ["1.0", "2.0", "3.0"]
    other = drawn(page.locator("#forgetting .plot").first)
    assert other.locator(".textpoint text").first.text_content() == "0.0"


# Films

PLAYING = """strip => [...document.querySelectorAll(strip + ' video')]
    .every(film => !film.paused && film.currentTime > 0.1 && film.videoWidth === 48)"""


def test_films_play_while_they_are_seen(desktop: Page) -> None:
    page = desktop
    resize(page, 1000, 420)
    playing = "() => [...document.querySelectorAll('video')].filter(f => !f.paused).length"
    assert page.evaluate(playing) == 0
    page.locator("#films-0 video").last.scroll_into_view_if_needed()
    page.wait_for_function("() => !document.querySelectorAll('#films-0 video')[2].paused")
    page.locator("#films-2 video").first.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => { const film = document.querySelectorAll('#films-2 video')[0];"
        " return !film.paused && film.currentTime > 0.1; }"
    )
    page.wait_for_function("() => document.querySelectorAll('#films-0 video')[0].paused")
    page.get_by_role("button", name="Pause films").click()
    assert page.evaluate(playing) == 0
    page.get_by_role("button", name="Play films").click()
    page.wait_for_function(f"() => ({playing})() > 0")
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    page.wait_for_function(f"() => ({playing})() === 0")


def test_films_rest_where_motion_is_not_wanted(open_page: Open, clip: bytes) -> None:
    films = render(samples.page_of(samples.strip("films-0", "finetune", clip)))
    page = open_page(films, reduced_motion="reduce").page
    page.locator("#films-0 video").last.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('#films-0 video').readyState >= 2")
    assert page.evaluate("[...document.querySelectorAll('video')].every(f => f.paused)")
    assert page.evaluate("[...document.querySelectorAll('video')].every(f => f.controls)")
    page.get_by_role("button", name="Play films").click()
    page.wait_for_function(PLAYING, arg="#films-0")


@pytest.mark.slow
def test_a_browser_has_players_enough(open_page: Open, clip: bytes) -> None:
    strip = samples.strip("films", "finetune", clip)
    many = replace(
        strip,
        rows=tuple(map(str, range(10))),
        columns=tuple(map(str, range(12))),
        clips=((strip.clips[1][0],) * 12,) * 10,
    )
    page = open_page(render(samples.page_of(many)), viewport={"width": 2400, "height": 2600}).page
    assert page.locator("video").count() == 120
    settle(page)
    assert page.locator("video[src]").count() == 60
    # Those that come into view later get what others give back, and no more.
    resize(page, 2400, 600)
    page.locator("video").last.scroll_into_view_if_needed()
    page.wait_for_function("() => [...document.querySelectorAll('video')].at(-1).src")
    assert page.locator("video[src]").count() <= 60


@pytest.mark.slow
def test_what_does_not_play_or_follow_is_found(open_page: Open, html: str) -> None:
    broken = re.sub(r'"traces":\[0,1,2,', '"traces":[0,null,2,', html)
    broken = re.sub(r'data-film="[^"]*"', 'data-film="AAAA"', broken)
    page = open_page(broken, broken=True).page
    before = traces(page, "curves")
    page.get_by_role("checkbox", name=samples.LONG).uncheck()
    assert traces(page, "curves") != before * 2 // 3
    page.locator("#films-0 video").last.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('#films-0 video').error !== null")
    assert not page.evaluate(f"({PLAYING})('#films-0')")


# Themes


def line_colour(page: Page) -> str:
    plot = drawn(page.locator("#curves .plot").last)
    return str(plot.locator(".js-line").last.evaluate("path => getComputedStyle(path).stroke"))


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.slow
def test_themes(open_page: Open, html: str) -> None:
    page = open_page(html, color_scheme="dark").page
    button = page.get_by_role("button", name="Dark theme")
    expect(button).to_have_attribute("aria-pressed", "true")
    assert (background(page), line_colour(page)) == (rgb(DARK.background), rgb(DARK.methods[2]))
    page.emulate_media(color_scheme="light")
    expect(button).to_have_attribute("aria-pressed", "false")
    assert (background(page), line_colour(page)) == (rgb(LIGHT.background), rgb(LIGHT.methods[2]))
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert (background(page), line_colour(page)) == (rgb(DARK.background), rgb(DARK.methods[2]))
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")
    expect(button).to_have_attribute("aria-pressed", "true")
    assert background(page) == rgb(DARK.background)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert background(page) == rgb(LIGHT.background)


ILLEGIBLE = r"""() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const channels = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => c / 255).map(c => c <= .04045 ? c / 12.92
        : ((c + .055) / 1.055) ** 2.4);
    return .2126 * x + .7152 * y + .0722 * z;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = channels(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || element.closest("script, style, noscript, .textpoint, .hoverlayer")
        || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [luminance(channels(ink)), luminance(behind(element))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < 4.5) found.push(`${contrast.toFixed(1)} ${text.slice(0, 40)}`);
  }
  return found;
}"""


def test_a_page_is_read_through_and_legible(desktop: Page) -> None:
    desktop.get_by_role("checkbox", name="finetune").uncheck()
    for theme in ("light", "dark"):
        desktop.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        pressed = desktop.get_by_role("button", name="Dark theme")
        expect(pressed).to_have_attribute("aria-pressed", str(theme == "dark").lower())
        read_through(desktop)
        assert desktop.evaluate(ILLEGIBLE) == []


def test_letters_that_are_not_legible_are_found(open_page: Open) -> None:
    body = "<p style='color: #7a7a7a'>faint</p><p style='color: #707070'>clear</p>"
    page = open_page(TINY.format(head="", body=body)).page
    assert page.evaluate(ILLEGIBLE) == ["4.3 faint"]


# Small screens and paper


def too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > screen.width"))


@pytest.mark.slow  # a whole report of narrow charts: test_layout.py, and charts that follow, below
def test_a_phone_never_scrolls_sideways(open_page: Open, html: str) -> None:
    page = open_page(html, viewport=PHONE, is_mobile=True, has_touch=True).page
    read_through(page)
    for chart in CHARTS:
        unfold(page, chart)
    page.locator("#again summary").click()
    assert not too_wide(page)
    inside = page.locator("#curves .numbers .table")
    assert inside.evaluate("box => box.scrollWidth > box.clientWidth")
    page.evaluate("document.querySelector('#curves').style.width = '400px'")
    assert too_wide(page)


def test_charts_follow_the_width(desktop: Page) -> None:
    page = desktop
    resize(page, 1200, 800)
    plot = drawn(page.locator("#profile .plot"))
    picture = plot.locator(".main-svg").first
    assert float(picture.get_attribute("width") or 0) > 600
    resize(page, **PHONE)
    drawn(plot)
    expect(picture).to_have_attribute("width", str(plot.evaluate("plot => plot.clientWidth")))
    assert float(picture.get_attribute("width") or 0) < 360


@pytest.mark.slow
def test_paper(open_page: Open, html: str) -> None:
    page = open_page(html, color_scheme="dark", viewport={"width": 1400, "height": 600}).page
    drawn(page.locator("#curves .plot").first)
    pictures, every = page.locator(".plot:has(.main-svg)"), page.locator(".plot").count()
    assert pictures.count() < every
    assert page.pdf(format="A4")[:4] == b"%PDF"
    assert pictures.count() == every
    expect(page.locator("html")).not_to_have_class("printing")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = page.evaluate("[...document.querySelectorAll('.main-svg')].map(s => s.clientWidth)")
    assert max(widths) < 700
    assert background(page) == rgb(LIGHT.background)
    assert line_colour(page) == rgb(LIGHT.methods[2])
    for selector in (".buttons", "nav", ".films .table", ".methods input"):
        assert page.locator(selector).filter(visible=True).count() == 0
    assert page.locator(".on-paper").filter(visible=True).count() == 3
    assert page.evaluate("getComputedStyle(document.querySelector('.bar')).position") == "static"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert background(page) == rgb(DARK.background)


# Keyboards and screen readers


def focused(page: Page) -> str:
    return str(
        page.evaluate(
            "(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()"
        )
    )


def test_the_keyboard_reaches_everything(desktop: Page) -> None:
    page = desktop
    # As in a page that was just opened, wherever one was before.
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    visible = "getComputedStyle(document.activeElement).outlineStyle"
    order = []
    for _ in range(5):
        page.keyboard.press("Tab")
        order.append(focused(page))
        assert page.evaluate(visible) == "solid"
    assert order == [*samples.METHODS, "Pause films", "Dark theme"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("checkbox").nth(2)).not_to_be_checked()
    assert page.locator("#summary tbody tr").filter(visible=True).count() == 2
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.locator("#curves summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#curves .numbers table")).to_be_visible()
    assert page.locator("#curves .numbers tbody tr").first.inner_text().split("\t")[:3] == [
        *("gap 100", "finetune", "10,000"),
    ]


BELOW_THE_BAR = """section => {
  const from = document.querySelector('.bar').getBoundingClientRect().bottom;
  const top = document.getElementById(section).getBoundingClientRect().top;
  return top - from;
}"""

DRAWN_IN_VIEW = """() => [...document.querySelectorAll('.plot.outdated')].every(plot => {
  const { top, bottom, width } = plot.getBoundingClientRect();
  return !width || bottom <= 0 || top >= innerHeight;
})"""


def jump(page: Page, section: str) -> float:
    """Follow a link of the contents; return how far below the bar what it leads to is [px]."""
    page.get_by_role("navigation").locator(f"a[href='#{section}']").evaluate("link => link.click()")
    page.wait_for_function("section => location.hash === `#${section}`", arg=section)
    settle(page)
    page.wait_for_function(DRAWN_IN_VIEW)  # what is drawn pushes nothing
    return float(page.evaluate(BELOW_THE_BAR, section))


def test_what_is_jumped_to_is_not_covered(desktop: Page) -> None:
    bar = desktop.locator(".bar")
    for width in (1280, 390):
        resize(desktop, width, 720)
        for section in ("matrices", "films", "matrices"):
            assert 0 <= jump(desktop, section) < 60
        before = bar.bounding_box()
        desktop.get_by_role("checkbox", name="finetune").uncheck()
        expect(desktop.get_by_role("button", name="Show all")).to_be_visible()
        assert bar.bounding_box() == before
        assert 0 <= jump(desktop, "films") < 60
        desktop.get_by_role("button", name="Show all").click()
    desktop.add_style_tag(content=":root { scroll-padding-top: 0 !important; }").evaluate(
        "style => { style.id = 'planted'; }"
    )
    assert jump(desktop, "matrices") < 0
    desktop.evaluate("document.getElementById('planted').remove()")


@pytest.fixture(scope="module", params=[True, False], ids=["scripts", "no scripts"])
def linked(
    request: pytest.FixtureRequest,
    browser: Browser,
    html: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Page, bool]]:
    """The page of everything, opened by a link into it, and whether scripts are allowed."""
    path = tmp_path_factory.mktemp("linked") / "page.html"
    path.write_text(html, "utf-8")
    context = browser.new_context(java_script_enabled=request.param)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{path.as_uri()}#matrices")
    yield page, request.param
    context.close()


def test_a_link_into_a_page_shows_what_it_names(linked: tuple[Page, bool]) -> None:
    page, script = linked
    if script:
        settle(page)
    # There is no bar to be seen where nothing could measure it.
    assert page.locator(".bar").is_visible() == script
    assert 0 <= page.evaluate(BELOW_THE_BAR, "matrices") < 60


def test_contents_fold_on_a_phone_and_by_key(linked: tuple[Page, bool]) -> None:
    page, _ = linked
    page.set_viewport_size({"width": 390, "height": 800})
    contents = page.get_by_role("navigation")
    link = contents.get_by_role("link", name="Verdict")
    expect(link).to_be_hidden()
    contents.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(link).to_be_visible()
    page.keyboard.press("Tab")
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(":target h2")).to_have_text("Verdict")
    contents.locator("summary").press("Enter")
    expect(link).to_be_hidden()
    # Where there is room beside the page they are always there, and nothing is to be unfolded.
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(link).to_be_visible()
    expect(contents.locator("summary")).to_be_hidden()


def test_tables_are_sorted_by_key(desktop: Page) -> None:
    page = desktop

    def column(number: int) -> list[str]:
        return [
            row.locator("th, td").nth(number).inner_text()
            for row in page.locator("#summary tbody tr").all()
        ]

    head = page.locator("#summary").get_by_role("columnheader")
    page.locator("#summary").get_by_role("button", name="average").focus()
    page.keyboard.press("Enter")
    expect(head.nth(1)).to_have_attribute("aria-sort", "ascending")
    assert [cell.split()[0] for cell in column(1)] == ["9.5", "10.0", "1,200.0"]
    page.keyboard.press("Enter")
    expect(head.nth(1)).to_have_attribute("aria-sort", "descending")
    assert [cell.split()[0] for cell in column(1)] == ["1,200.0", "10.0", "9.5"]
    page.locator("#summary").get_by_role("button", name="forgetting").click()
    expect(head.nth(2)).to_have_attribute("aria-sort", "ascending")
    page.locator("#summary").get_by_role("button", name="forgetting").click()
    expect(head.nth(2)).to_have_attribute("aria-sort", "descending")
    assert column(2)[0] == "\u22121.5 \u00b1\xa00.2"
    assert [cell[0] for cell in column(2)[1:]] == ["\u2013", "\u2013"]
    assert page.locator("#summary [aria-sort]").count() == 1


NAMED = ("button", "checkbox", "slider", "link", "image", "Video", "region", "heading", "table")


def nameless(page: Page) -> list[str]:
    """List what a screen reader could not name."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    return [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] in NAMED
        and not node.get("name", {}).get("value")
    ]


def test_screen_readers_are_told_what_there_is(desktop: Page) -> None:
    page = desktop
    read_through(page)
    told = page.locator("body").aria_snapshot()
    for line in (
        'heading "FlappyBird, <conflict>" [level=1]',
        'group "Methods"',
        'checkbox "finetune" [checked]',
        'button "Pause films"',
        'button "Dark theme"',
        'navigation "Contents"',
        'slider "Checkpoint"',
        *(f'img "{chart.alt}"' for chart in samples.charts()),
        'table "Summary"',
        'columnheader "average"',
        'rowheader "finetune"',
    ):
        assert line in told, line
    assert re.search(r"^- main:", told, re.MULTILINE)
    assert nameless(page) == []


def test_a_button_without_a_name_is_found(open_page: Open) -> None:
    page = TINY.format(head="", body="<button></button><button>Named</button>")
    assert nameless(open_page(page).page) == ["button"]


def test_names_in_charts_are_text(desktop: Page) -> None:
    plot = drawn(desktop.locator("#dots .plot"))
    shown = plot.locator(".textpoint text").evaluate_all(
        "all => all.map(t => [...t.querySelectorAll('tspan')].map(s => s.textContent).join(' ')"
        " || t.textContent)"
    )
    names = [name.replace(": nothing is known at the end", "") for name in shown]
    assert names == list(samples.METHODS)


def test_hover_texts_are_text(another: Page) -> None:
    page = another
    said = page.locator(".hovertext")
    drawn(page.locator("#curves .plot").first)
    page.locator("#curves .points path").first.hover(force=True)
    expect(said).to_contain_text(samples.HOSTILE)
    expect(said).to_contain_text("1 (0 to 2)")
    drawn(page.locator("#forgetting .plot"))
    for cell, number in ((1, "10"), (2, "\u2013")):
        page.locator("#forgetting .textpoint text").nth(cell).hover(force=True)
        expect(said).to_have_text(
            f"phase played: gap 100phases trained so far: {cell}pipes passed: {number}<b>why</b>"
        )
