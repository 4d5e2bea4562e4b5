"""Small pages with everything that a page can show."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np

from continual_arcade.reports.pages.page_model import (
    AreaChart,
    AreaPanel,
    Band,
    BarChart,
    Bars,
    Chart,
    Clip,
    DataTable,
    DotChart,
    Dots,
    FilmStrip,
    HeatMap,
    HeatPanel,
    Item,
    LineChart,
    LinePanel,
    Number,
    Page,
    Section,
    Series,
)

LONG = "ewc, learning_rate=0.001, replay=reservoir"
HOSTILE = "<script>alert(1)</script> & $x_1$ %{y} 100% #{a}~^\\"
METHODS = ("finetune", LONG, HOSTILE)
NOWHERE = np.array([np.nan] * 4)


def film(path: Path, *, width: int = 48, height: int = 80) -> bytes:
    """A second of something that moves: H.264, as a browser plays it."""
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=15,
        codec="libx264",
        pix_fmt_out="yuv420p",
        macro_block_size=1,
        output_params=["-movflags", "+faststart"],
    )
    writer.send(None)
    for step in range(30):
        picture = np.full((height, width, 3), 200, np.uint8)
        picture[2 * step : 2 * step + 8, 10:30] = (200, 60, 20)
        writer.send(np.ascontiguousarray(picture))
    writer.close()
    return path.read_bytes()


def lines(key: str = "curves", methods: tuple[str, ...] = METHODS) -> LineChart:
    x = np.array([10_000.0, 20_000.0, 30_000.0, 40_000.0])
    bands = (Band(0, 20_000, "gap 100", True), Band(20_000, 40_000, "gap 60"))
    series = []
    for i, label in enumerate(methods):
        y = np.array([1.0, 5.0, np.nan, 3.0]) + i
        series.append(Series(label, x, y, y - 1, y + 1, ("5 runs",) * 4))
    panels = tuple(LinePanel(name, tuple(series), bands) for name in ("gap 100", "gap 60"))
    return LineChart(
        key=key,
        title="Score in each phase",
        caption="Mean over 5 runs.",
        alt="All methods rise while a phase is trained, and fall after.",
        x_label="lifetime step",
        y_label="pipes passed",
        panels=panels,
    )


def profile() -> LineChart:
    x = np.linspace(0, 10, 5)
    drawn = tuple(Series(label, x, 1 - x / 10) for label in METHODS)
    return LineChart(
        key="profile",
        title="Performance profile",
        alt="Shares of runs that fall with the threshold.",
        x_label="pipes passed",
        y_label="share of runs",
        panels=(LinePanel("", drawn),),
        steps=True,
    )


def heat(key: str = "forgetting", *, frames: int = 1) -> HeatMap:
    def matrices(start: float) -> tuple[np.ndarray, ...]:
        return tuple(np.array([[start + f, 10.0, np.nan], [0.0, 1.0, 12.3]]) for f in range(frames))

    return HeatMap(
        key=key,
        title="What is kept",
        alt="The first phase falls from 10 to nothing known.",
        rows=("gap 100", "gap 60"),
        columns=("before", "1", "2"),
        rows_label="phase played",
        columns_label="phases trained so far",
        value_label="pipes passed",
        panels=tuple(HeatPanel(label, matrices(i)) for i, label in enumerate(METHODS)),
        frames=tuple(f"step {1000 * (f + 1):,}" for f in range(frames)) if frames > 1 else ("",),
        frames_label="Checkpoint" if frames > 1 else "",
        marked=frozenset({(0, 1), (1, 2)}),
        diverging=frames > 1,
    )


def bars() -> BarChart:
    def of(label: str, offset: float) -> Bars:
        values = np.array([3.0, np.nan, 12.0]) + offset
        return Bars(label, values, values - 2, values + 2)

    return BarChart(
        key="bars",
        title="At the end",
        alt="The worst phase is worst with finetune.",
        categories=("gap 100", "gap 60", "worst phase"),
        y_label="pipes passed",
        bars=tuple(of(label, i) for i, label in enumerate(METHODS)),
    )


def dots() -> DotChart:
    ends = ((9.0, 7.0, 6.0, 8.0), (4.0, np.nan, np.nan, np.nan), (2.0, 5.0, np.nan, np.nan))
    return DotChart(
        key="dots",
        title="What is left",
        alt="finetune falls from 9 to 7.",
        x_label="pipes passed",
        before_label="when just learnt",
        value_label="at the end",
        dots=tuple(Dots(label, *of) for label, of in zip(METHODS, ends, strict=True)),
        marks=(("random play", 0.1), ("oracle", 10.0)),
    )


def areas() -> AreaChart:
    x = np.array([0.0, 100.0, 200.0, 300.0])
    first = np.array([np.nan, 1.0, 0.5, 0.3])
    return AreaChart(
        key="buffer",
        title="What the buffer holds",
        alt="The share of the first phase falls.",
        x_label="lifetime step",
        y_label="share of the buffer",
        panels=tuple(
            AreaPanel(label, x, (("gap 100", first), ("gap 60", 1 - first))) for label in METHODS
        ),
    )


def table(key: str = "summary", *, folded: bool = False) -> DataTable:
    return DataTable(
        key=key,
        title="Summary",
        columns=("method", "average", "forgetting"),
        rows=(
            ("finetune", Number("9.5 ± 1.1", 9.51, (8.4, 10.6)), ""),
            (
                LONG,
                Number("10.0 ± 0.4", 10.02, (9.6, 10.4)),
                Number("\u22121.5 ± 0.2", -1.5, (-1.7, -1.3)),
            ),
            (HOSTILE, Number("1,200.0 ± 3", 1200, (1197, 1203)), "nan"),
        ),
        labels=METHODS,
        notes=("There is one phase only.", "A run is missing."),
        noted=((0, 2, 0), (2, 2, 1)),
        folded=folded,
    )


def strip(key: str, label: str, clip: bytes) -> FilmStrip:
    def shows(row: str, column: str) -> Clip:
        alt = f"{label} after {column} playing {row}: 3 pipes"
        return Clip(clip, "video/mp4", alt, "3 pipes", (48, 80))

    rows, columns = ("gap 100", "gap 60"), ("nothing", "gap 100")
    clips = [[shows(row, column) for column in columns] for row in rows]
    return FilmStrip(
        key=key,
        title=label,
        label=label,
        rows=rows,
        columns=columns,
        rows_label="phase played",
        columns_label="after training in",
        clips=((clips[0][0], None), tuple(clips[1])),
    )


def charts() -> tuple[Chart, ...]:
    return dots(), lines(), profile(), heat(), heat("interference", frames=3), bars(), areas()


def page_of(*items: Item, methods: tuple[str, ...] = METHODS) -> Page:
    return Page("A report", "", methods, (), (Section("all", "All", "", items),))


def full(clip: bytes) -> Page:
    strips = [strip(f"films-{i}", label, clip) for i, label in enumerate(METHODS)]
    return Page(
        title="FlappyBird, <conflict>",
        subtitle="3 methods, 5 seeds each.",
        methods=METHODS,
        about="To see everything.",
        verdicts=(Section("verdict", "Verdict", "Why.", (dots(),), "finetune is ahead."),),
        warnings=("finetune has 3 runs: intervals say little.", HOSTILE),
        sections=(
            Section("overview", "Overview", "First.\n\nSecond.", (table(), lines(), profile())),
            Section("matrices", "Matrices", "", (heat(), heat("interference", frames=3))),
            Section("more", "More", "", (bars(), areas(), table("again", folded=True))),
            Section("films", "Films", "", tuple(strips)),
        ),
    )
