"""The sentence that a report begins with: who is ahead, how sure that is, what is forgotten."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from continual_arcade.evaluation.comparison import adjusted, paired_difference
from continual_arcade.evaluation.statistics import Estimate, mean_over_runs
from continual_arcade.reports.verdict import Standing, Verdict, verdict

NAN = math.nan
NOTHING = Estimate.without_interval(NAN, 0, "1 of 3 runs lack the number")


def standings(
    ends: Mapping[str, Sequence[float]],
    *,
    base: str = "finetune",
    changes: Mapping[str, Sequence[float]] | None = None,
    shares: Mapping[str, float] | None = None,
    references: Sequence[str] = (),
) -> list[Standing]:
    """What is known of methods by their scores at the end, seed by seed."""
    by_seed = {label: dict(enumerate(scores)) for label, scores in ends.items()}
    others = [label for label in ends if label != base]
    found = adjusted([paired_difference(by_seed[one], by_seed[base]) for one in others])
    differences = dict(zip(others, found, strict=True))
    return [
        Standing(
            label=label,
            end=mean_over_runs(scores),
            change=mean_over_runs((changes or {}).get(label, [NAN] * len(scores))),
            worst=mean_over_runs(np.asarray(scores) / 2),
            learnt=20.0,
            share=(shares or {}).get(label, NAN),
            difference=differences.get(label),
            reference=label in references,
        )
        for label, scores in ends.items()
    ]


def said(found: Sequence[Standing], base: str = "finetune") -> Verdict:
    return verdict(found, base, "pipes passed")


EIGHT = np.arange(8.0)
FORGETS = {"finetune": -5 - EIGHT / 10, "ewc": -2 - EIGHT / 10}


def test_one_method() -> None:
    found = standings({"finetune": [5.0, 6.0, 7.0]}, changes={"finetune": [-4.0, -5.0, -6.0]})
    assert said(found).headline == (
        "finetune has 6.0 pipes passed at the end, over all phases, and has forgotten 25 % of what "
        "it had learnt (5.0 of 20.0)."
    )
    worst = mean_over_runs([2.5, 3.0, 3.5])
    assert said(found).details == (f"In the phase that it plays worst, finetune has {worst:.1f}.",)


def test_a_clear_winner_beside_the_base() -> None:
    ends = {"finetune": 10 + EIGHT, "ewc": 14 + EIGHT + EIGHT / 10}
    known = standings(ends, changes=FORGETS)
    found = said(known)
    assert known[1].difference is not None
    # Of all 2**8 sign flips two are as far; one comparison.
    assert found.headline == (
        "ewc is ahead with 17.8 pipes passed at the end, significantly better than finetune "
        f"({known[1].difference.estimate:+.1f}, p = 0.008), and has forgotten 12 % of what it "
        "had learnt (2.4 of 20.0)."
    )
    details = " ".join(found.details)
    assert "p < 0.05" in details
    assert "1 comparison with finetune" in details
    assert "finetune has forgotten most, 27 % of what it had learnt (5.4 of 20.0); ewc" in details
    assert "--against" not in details  # with two methods nothing is left to test
    assert "are needed" not in details


def test_differences_from_others_than_the_base_are_not_claimed() -> None:
    ends = {"finetune": 10 + EIGHT, "ewc": 14 + EIGHT, "mer": 13 + EIGHT}
    details = " ".join(said(standings(ends)).details)
    assert (
        "Only differences from finetune are tested; a report with the option --against ewc"
        in details
    )
    assert "2 comparisons" in details
    alone = standings({"finetune": 10 + EIGHT, "ewc": 14 + EIGHT, "joint": 20 + EIGHT})
    alone[2] = replace(alone[2], reference=True)
    assert "--against" not in " ".join(said(alone).details)


def test_the_base_is_ahead() -> None:
    wins = {"finetune": 20 + EIGHT, "ewc": 10 + EIGHT, "mer": 9 + EIGHT}
    assert said(standings(wins)).headline == (
        "finetune is ahead with 23.5 pipes passed at the end, significantly better than ewc and "
        "mer."
    )
    some = {**wins, "mer": [20.0, 20, 23, 22, 25, 24, 27, 26]}
    assert said(standings(some)).headline == (
        "finetune is ahead with 23.5 pipes passed at the end, significantly better than ewc, not "
        "significantly than mer."
    )
    none = {"finetune": [5.0, 9.0, 1.0, 6.0, 3.0, 8.0], "ewc": [9.0, 1.0, 5.0, 2.0, 8.0, 3.0]}
    assert said(standings(none)).headline == (
        "finetune is ahead with 5.3 pipes passed at the end, not significantly better than ewc."
    )


def test_fewer_than_five_seeds_are_never_significant() -> None:
    found = said(standings({"finetune": [1.0, 1.1, 1.2], "ewc": [9.0, 9.1, 9.2]}))
    assert found.headline == (
        "ewc is ahead with 9.1 pipes passed at the end, not significantly better than finetune "
        f"({mean_over_runs([8.0, 8.0, 8.0]):+.1f}, p = 0.250)."
    )
    assert "3 seeds cannot make any difference significant: at least 6 are needed." in found.details
    one = said(standings({"finetune": [1.0], "ewc": [9.0]}))
    assert "not significantly better" in one.headline
    assert "1 seed cannot make any difference significant: at least 6 are needed." in one.details


@pytest.mark.parametrize(("rivals", "needed"), [(1, 6), (2, 7), (3, 7), (4, 8), (14, 10)])
def test_so_many_seeds_can_be_significant_and_one_less_cannot(rivals: int, needed: int) -> None:
    for seeds in (needed - 1, needed):
        base = np.arange(float(seeds))
        found = standings({"finetune": base, **{f"m{i}": base + 10 + i for i in range(rivals)}})
        assert ("at least" in " ".join(said(found).details)) == (seeds < needed)
        assert ("not significantly" in said(found).headline) == (seeds < needed)
        for one in found[1:]:
            assert one.difference is not None
            assert (one.difference.adjusted_p < 0.05) == (seeds >= needed)


def test_a_tie() -> None:
    found = said(standings({"finetune": [5.0, 7.0], "ewc": [7.0, 5.0], "mer": [1.0, 2.0]}))
    assert found.headline == "finetune and ewc are level at 6.0 pipes passed at the end."
    many = said(standings({"finetune": [5.0, 7.0], **{f"m{i}": [6.0, 6.0] for i in range(9)}}))
    assert many.headline == "10 methods are level at 6.0 pipes passed at the end."


def test_nothing_was_learnt() -> None:
    ends = {"finetune": [0.1, 0.2], "ewc": [0.4, 0.5]}
    found = said(standings(ends, shares={"finetune": 0.002, "ewc": 0.1}))
    assert found.headline.startswith("Nothing was learnt: the best method, ewc, comes 10 % of the")
    assert said(standings(ends, shares={"finetune": 0.002, "ewc": 0.11})).headline.startswith("ewc")
    # Where there is no oracle, nobody can say.
    assert said(standings(ends)).headline.startswith("ewc is ahead")
    alone = said(standings({"finetune": [0.1, 0.2]}, shares={"finetune": 0.002}))
    assert alone.headline.startswith("Nothing was learnt: finetune comes less than 1 % of the way")


def test_what_is_not_known_is_said() -> None:
    found = standings({"finetune": [5.0, 7.0], "ewc": [9.0, 9.0]})
    lacking = [found[0], replace(found[1], end=NOTHING)]
    assert said(lacking).headline.startswith("finetune has 6.0 pipes passed")
    assert "Without ewc: 1 of 3 runs lack the number." in said(lacking).details
    assert said([replace(one, end=NOTHING) for one in found]).headline == (
        "Who is ahead cannot be said: 1 of 3 runs lack the number."
    )


def test_methods_that_share_no_seed() -> None:
    found = standings({"finetune": [5.0, 7.0], "ewc": [9.0, 9.5]})
    apart = paired_difference({0: 9.0, 1: 9.5}, {2: 5.0, 3: 7.0})
    found[1] = replace(found[1], difference=apart)
    assert said(found).headline == (
        "ewc is ahead with 9.2 pipes passed at the end, and cannot be compared with finetune."
    )
    assert (
        "Some methods cannot be compared with finetune: no seed is in both." in said(found).details
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([-1.0, 1.5, -2.0, 1.0], ", and shows no significant forgetting (0.1 "),
        ([2.0, 2.5, 3.0, 2.2], ", and plays earlier phases better than when just learnt (+2.4 "),
        ([0.0, 0.0, 0.0, 0.0], ", and has forgotten nothing."),
        ([-30.0, -31.0, -32.0, -31.0], ", and has forgotten 31.0 of what it had learnt."),
        ([NAN, -1.0, -1.0, -1.0], "at the end, over all phases."),
    ],
)
def test_forgetting(changes: Sequence[float], words: str) -> None:
    found = standings({"finetune": [5.0, 6.0, 7.0, 6.5]}, changes={"finetune": changes})
    assert words in said(found).headline


def test_why_nothing_is_known_of_forgetting() -> None:
    found = standings({"finetune": [5.0, 6.0]})
    details = said(found).details
    assert "What was forgotten is not known: no run has the number." in details


def test_references_are_no_methods() -> None:
    ends = {"finetune": 10 + EIGHT, "joint": 40 + EIGHT, "ewc": 14 + EIGHT}
    found = said(standings(ends, references=["joint"]))
    assert found.headline.startswith("ewc is ahead with 17.5")
    assert "joint 43.5" in found.details[-1]
    against = said(standings(ends, base="joint", references=["joint"]), "joint")
    assert against.headline.startswith("ewc is ahead with 17.5 pipes passed at the end, signific")
    assert "antly worse than joint (-26.0" in against.headline
    only = said(standings({"joint": EIGHT}, base="joint", references=["joint"]), "joint")
    assert only.headline.startswith("joint has 3.5")


def test_labels_with_settings_and_many_methods() -> None:
    label = "ewc, learning_rate=0.001"
    ends = {"finetune": 10 + EIGHT, label: 14 + EIGHT, "mer": 1 + EIGHT}
    found = said(standings(ends))
    assert found.headline.startswith("\u201cewc, learning_rate=0.001\u201d is")
    many = {"finetune": 50 + EIGHT, **{f"m{i}": i + EIGHT for i in range(14)}}
    assert "than 14 other methods" in said(standings(many)).headline
    # What is advised is what names it, and nothing else.
    details = " ".join(said(standings(ends)).details)
    assert f"--against 'ewc, learning_rate=0.001' tests those from \u201c{label}\u201d" in details


def test_who_forgets_equally_much_is_not_ranked() -> None:
    ends = {"finetune": 10 + EIGHT, "ewc": 14 + EIGHT}
    equal = dict.fromkeys(ends, -2 - EIGHT / 10)
    details = " ".join(said(standings(ends, changes=equal)).details)
    assert "finetune and ewc have forgotten equally much, 2.4 of what they had learnt" in details
    assert "most" not in details


def test_a_verdict_that_contradicts_its_numbers_would_be_found() -> None:
    """The oracle of all above: a planted sign turns the sentence around."""
    found = standings({"finetune": 10 + EIGHT, "ewc": 14 + EIGHT})
    assert found[1].difference is not None
    worse = replace(found[1].difference, estimate=mean_over_runs(-4 - EIGHT / 10))
    assert "better than finetune" in said(found).headline
    assert "worse than finetune" in said([found[0], replace(found[1], difference=worse)]).headline
