from dataclasses import replace

import numpy as np
import pytest
import sample_pages as samples

from continual_arcade.reports.pages.page_model import Bars, DataTable, Page, Section, Series


def test_a_page_of_everything_is_accepted() -> None:
    page = samples.full(b"")
    keys = [item.key for item in page.items()]
    assert keys[:4] == ["dots", "summary", "curves", "profile"]
    assert all(item.labels_used() == set(samples.METHODS) for item in samples.charts())


@pytest.mark.parametrize("key", ["", "With Space", "../up", "a--b", "Capital", "a/b", "a_b"])
def test_keys_that_are_no_names_of_files(key: str) -> None:
    with pytest.raises(ValueError, match="lower case"):
        samples.lines(key)
    with pytest.raises(ValueError, match="lower case"):
        Section(key, "")


def test_keys_are_unique_in_a_page() -> None:
    with pytest.raises(ValueError, match="curves"):
        samples.page_of(samples.lines(), samples.lines())
    with pytest.raises(ValueError, match="all"):
        samples.page_of(samples.lines("all"))


def test_methods_are_those_of_the_page() -> None:
    with pytest.raises(ValueError, match=r"'finetune'.*not among.*'ewc'"):
        samples.page_of(samples.lines(methods=("finetune",)), methods=("ewc",))
    with pytest.raises(ValueError, match="none"):
        samples.page_of(samples.lines(methods=("finetune",)), methods=())
    with pytest.raises(ValueError, match="differ"):
        Page("", "", ("ewc", "ewc"), (), ())


def test_shapes_that_do_not_fit() -> None:
    three, four = np.zeros(3), np.zeros(4)
    with pytest.raises(ValueError, match=r"line of ewc: y has shape \(4,\), not \(3,\)"):
        Series("ewc", three, four)
    with pytest.raises(ValueError, match="low has shape"):
        Series("ewc", three, three, four, three)
    with pytest.raises(ValueError, match="one end"):
        Series("ewc", three, three, three)
    with pytest.raises(ValueError, match="2 hover texts for 3"):
        Series("ewc", three, three, hover=("", ""))
    with pytest.raises(ValueError, match="high has shape"):
        Bars("ewc", three, three, four)
    with pytest.raises(ValueError, match="values has shape"):
        replace(samples.bars(), categories=("one",))
    with pytest.raises(ValueError, match=r"shape \(2, 3\), not \(2, 2\)"):
        replace(samples.heat(), columns=("1", "2"))
    with pytest.raises(ValueError, match="1 matrices"):
        replace(samples.heat(), frames=("a", "b"))
    with pytest.raises(ValueError, match="films have not the shape"):
        replace(samples.strip("films", "finetune", b""), rows=("one",))
    with pytest.raises(ValueError, match="colours cannot reach from 1 to 1"):
        replace(samples.heat(), limits=(1, 1))


def test_tables_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 cells, not 2"):
        DataTable(key="t", title="", columns=("a", "b"), rows=(("1", "2"), ("3",)))
    with pytest.raises(ValueError, match="1 labels for 3 rows"):
        replace(samples.table(), labels=("finetune",))
    for place in ((3, 0, 0), (0, 3, 0), (0, 0, 2), (-1, 0, 0)):
        with pytest.raises(ValueError, match="there is no"):
            replace(samples.table(), noted=(place,))
