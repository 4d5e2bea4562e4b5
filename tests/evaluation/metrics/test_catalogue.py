"""The catalogue is complete, and its documentation says what it says."""

import re
from math import nan

import pytest
from sample_records import TWO, TWO_CONTEXT

from continual_arcade.evaluation.metrics import METRICS, Result, measure
from continual_arcade.evaluation.metrics.catalogue import _MODULES

WHOSE = {
    *("last", "last-five", "continual-world", "gem", "gem-last", "chaudhry", "avalanche", "coom"),
    *("cora-isolated", "cora", "meal", "mer", "mer-last", "l2m", "end", "de-lange", "auc-ratio"),
    *("final-ratio", "lifetime", "current-phase", "dynamic"),
}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    what, _, whose = name.partition("@")
    assert re.fullmatch(r"[a-z0-9-]+", what)
    assert whose in WHOSE or name == "adaptation-time"
    assert metric.title
    assert metric.source
    assert metric.formula
    for text in (metric.title, metric.formula, metric.source):
        assert "\n" not in text
        assert "|" not in text  # they stand in tables
        assert not text.endswith(".")
    assert metric.needs <= {"references", "baselines"}
    assert metric.better in ("higher", "lower", "zero", "")


def test_no_metric_is_lost() -> None:
    assert len(METRICS) == sum(len(module.METRICS) for module in _MODULES)
    titles = [metric.title for metric in METRICS.values()]
    assert len(set(titles)) == len(titles)
    assert list(measure(TWO, context=TWO_CONTEXT)) == list(METRICS)


def test_a_result_without_its_reason_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="NaN for a reason"):
        Result(nan)
    with pytest.raises(ValueError, match="NaN for a reason"):
        Result(1.0, "because")
