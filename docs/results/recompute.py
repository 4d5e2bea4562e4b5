"""Compute all that is published again from the runs, where only the statistics have changed.

python docs/results/recompute.py

reads NAME-runs.csv, the files of the studies, and NAME-references.json of those whose references do
not come with the suite, and writes beside it what the numbers can be,
means, differences, pictures, the tables of the pages, and the claims: no run is needed.
"""

import contextlib
import io
import runpy
from pathlib import Path

import pandas as pd

from continual_arcade.envs import make_game
from continual_arcade.evaluation import reference_files
from continual_arcade.evaluation.csv_table import read_csv
from continual_arcade.evaluation.metrics import Context
from continual_arcade.evaluation.reference_files import shipped_references
from continual_arcade.reports.method_results import Extremes
from continual_arcade.studies import publishing, study

HERE = Path(__file__).parent
STUDIES = {
    "classic": "finetune",
    "memory": "reservoir-5000",
    "lives": "finetune",
    "reasons": "reservoir",
    "methods": "finetune",
    "methods-tour": "finetune",
    "methods-tour-told": "finetune",
    "pictures": "finetune",
    "off-units": "relu-1",
    "off-units-fresh": "relu-1",
    "calibration": "online",
    "calibration-gem": "gem-5120",
    "calibration-many": "online",
    "calibration-overlap": "online",
    "calibration-three": "online",
    "calibration-split": "online",
    "calibration-split-large": "agem",
    "calibration-ten": "online",
    "calibration-projection": "online",
    "calibration-plasticity": "online",
}
"""What was published, and the method that differences are taken from."""
ABOUT = {"versions": {}, "command": "", "where": "", "python": ""}
"""Stands for what a page says of the runs, which stays as it is."""


def ranges(name: str) -> pd.DataFrame:
    """Return what the numbers of a study can be; what its experts came to is not known here."""
    plan = study.load(study.find(name))
    played = HERE / f"{name}-references.json"
    references = reference_files.load(played) if played.exists() else shipped_references()
    found = {}
    for scenario in plan.scenarios:
        protocol = plan.protocol(scenario)
        context = Context(references=references.scale(protocol))
        found[f"{scenario.game}, {scenario.schedule.name}"] = Extremes.of(protocol, context)
    return publishing.ranges({scenario: one for scenario, one in found.items() if one is not None})


def resources(name: str) -> pd.DataFrame | None:
    """Return what the methods of a study took, as it was measured; None if it was not."""
    path = HERE / f"{name}-resources.csv"
    return read_csv(path) if path.exists() else None


def page(name: str, table: pd.DataFrame, known: pd.DataFrame) -> str:
    """Return the page with the lines about its runs as they are, and all others computed again."""
    shown = (HERE / f"{name}.md").read_text("utf-8").splitlines(keepends=True)
    made = publishing.page(name, ABOUT, table, known, STUDIES[name], resources(name)).splitlines(
        keepends=True
    )
    begin = "Means over runs"
    about = next(i for i, line in enumerate(shown) if line.startswith(begin))
    rest = next(i for i, line in enumerate(made) if line.startswith(begin))
    return "".join(shown[:about] + made[rest:])


def main() -> None:
    """Write all files."""
    for name, base in STUDIES.items():
        table, known = read_csv(HERE / f"{name}-runs.csv"), ranges(name)
        known.to_csv(HERE / f"{name}-ranges.csv", index=False)
        scenarios = dict.fromkeys(table["in"])
        points = {scenario: make_game(scenario.partition(",")[0]).points for scenario in scenarios}
        publishing.compute(name, table, known, base, points, HERE)
        (HERE / f"{name}.md").write_text(page(name, table, known), "utf-8")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(HERE / "claims.py"), run_name="__main__")
    claims = HERE / "claims.md"
    head, mark, _ = claims.read_text("utf-8").partition("-->\n\n")
    claims.write_text(head + mark + printed.getvalue(), "utf-8")


if __name__ == "__main__":
    main()
