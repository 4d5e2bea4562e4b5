"""Print the tables of docs/choosing.md and docs/pictures.md: what methods keep, and what they take.

python docs/results/choosing.py

reads what ``study publish`` has written beside it of the studies in ``STUDIES`` and ``PICTURES``.
"""

from pathlib import Path

import pandas as pd

from continual_arcade.evaluation.csv_table import read_csv

HERE = Path(__file__).parent
STUDIES = ("methods", "methods-tour", "methods-tour-told")
PICTURES = ("Catcher, catcher-conflict-pixels", "Catcher, catcher-looks")
"""Scenarios of the study ``pictures``, which has a table for each."""
SCORES = {"la@mer": "just learnt", "acc@gem": "at the end"}
BASE = "finetune"


def lines(study: str, scenario: str = "") -> list[str]:
    """Return the lines of the table of a study, the method that has most at the end first.

    Args:
        study: The study.
        scenario: One of its scenarios, unless it has a single one.
    """
    means = read_csv(HERE / f"{study}-methods.csv")
    taken = read_csv(HERE / f"{study}-resources.csv")
    if scenario:
        means, taken = (table[table["in"] == scenario] for table in (means, taken))
    scores = means.pivot(index="method", columns="metric", values="mean")
    taken = taken.set_index("method")
    found = [
        f"| method | {' | '.join(SCORES.values())} | times `{BASE}` | parameters "
        "| beside the network and replay [kB] | earlier observations |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    order = scores["acc@gem"].sort_values(ascending=False, kind="stable").index
    for method in order:
        one: pd.Series = taken.loc[method]
        times = one["step_seconds"] / taken.loc[BASE, "step_seconds"]
        cells = [f"{scores.loc[method, metric]:.1f}" for metric in SCORES]
        cells += [f"{times:.2f}", f"{one['parameters']:,.0f}", f"{one['method_bytes'] / 1e3:,.0f}"]
        cells.append(f"{one['earlier_observations']:,.0f}")
        found.append(f"| `{method}` | {' | '.join(cells)} |")
    return found


if __name__ == "__main__":
    tables = [*map(lines, STUDIES), *(lines("pictures", scenario) for scenario in PICTURES)]
    print("\n\n".join(map("\n".join, tables)))
