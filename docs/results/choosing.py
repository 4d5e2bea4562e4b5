"""Print the tables of docs/choosing.md: what each method keeps, beside what it takes.

python docs/results/choosing.py

reads what ``study publish`` has written beside it of the studies in ``STUDIES``.
"""

from pathlib import Path

import pandas as pd

from continual_arcade.evaluation.csv_table import read_csv

HERE = Path(__file__).parent
STUDIES = ("methods", "methods-tour", "methods-tour-told")
SCORES = {"la@mer": "just learnt", "acc@gem": "at the end"}
BASE = "finetune"


def lines(study: str) -> list[str]:
    """Return the lines of the table of a study, the method that has most at the end first."""
    means = read_csv(HERE / f"{study}-methods.csv")
    scores = means.pivot(index="method", columns="metric", values="mean")
    taken = read_csv(HERE / f"{study}-resources.csv").set_index("method")
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
    print("\n\n".join("\n".join(lines(study)) for study in STUDIES))
