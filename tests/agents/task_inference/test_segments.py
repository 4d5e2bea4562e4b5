"""The filter over segments against brute force: all segmentations, with all their labels."""

import math
from collections import defaultdict
from itertools import pairwise, product

import numpy as np
import pytest

from continual_arcade.agents.task_inference import segments
from continual_arcade.agents.task_inference.segments import LEAST, NEW, PRIOR, SegmentFilter

CONTEXTS, OUTCOMES, HAZARD, MEMORY = 2, 3, 0.1, 5.0
NEVER = 2.0
"""A probability with which nothing is declared."""
Window = list[tuple[int, int]]
"""Contexts and outcomes, in order."""


def stream(seed: int, windows: int) -> list[Window]:
    rng = np.random.default_rng(seed)
    tasks = rng.dirichlet(np.full(OUTCOMES, 0.5), size=(2, CONTEXTS))
    which = rng.integers(2, size=windows)
    return [
        [
            (int(c), int(rng.choice(OUTCOMES, p=tasks[task, c])))
            for c in rng.integers(CONTEXTS, size=rng.integers(1, 6))
        ]
        for task in which
    ]


def counted(window: Window) -> segments.Floats:
    counts = np.zeros((CONTEXTS, OUTCOMES))
    for cell in window:
        counts[cell] += 1
    return counts


def filtered(
    windows: list[Window],
    known: segments.Floats,
    kind: type[SegmentFilter] = SegmentFilter,
    hazard: float = HAZARD,
) -> dict[tuple[int, int], float]:
    """Return the posterior of the filter, which knows some tasks, and is in the first of them."""
    found = kind(CONTEXTS, OUTCOMES, tasks=9, hazard=hazard, sure=NEVER, memory=MEMORY)
    found.load_state_dict({**found.state_dict(), "known": known, "counts": known[:1].copy()})
    for window in windows:
        assert found.add(counted(window)) is None
    return found.posterior()


def brute_force(windows: list[Window], known: segments.Floats) -> dict[tuple[int, int], float]:
    """Return the posterior by going through all segmentations and labels, outcome by outcome."""
    whole: dict[tuple[int, int], float] = defaultdict(float)
    for ends in product([False, True], repeat=len(windows) - 1):
        begins = [0, *(i + 1 for i, end in enumerate(ends) if end)]
        prior = math.prod(HAZARD if end else 1 - HAZARD for end in ends)
        for later in product([*range(1, len(known)), NEW], repeat=len(begins) - 1):
            labels = [0, *later]
            probability = prior
            for before, label in pairwise(labels):
                if label == before != NEW:
                    probability = 0.0
                others = [task for task in range(1, len(known)) if task != before]
                probability /= len(others) + 1
            if not probability:
                continue
            for begin, end, label in zip(begins, [*begins[1:], len(windows)], labels, strict=True):
                counts = np.zeros((CONTEXTS, OUTCOMES)) if label == NEW else known[label].copy()
                for window in windows[begin:end]:
                    now = counts.copy()
                    for context, outcome in window:
                        row = now[context] + PRIOR
                        probability *= row[outcome] / row.sum()
                        now[context, outcome] += 1
                    counts = now - counts / MEMORY
            whole[begins[-1], labels[-1]] += probability
    total = sum(whole.values())
    return {key: value / total for key, value in whole.items()}


def known_tasks(count: int, seed: int) -> segments.Floats:
    return np.random.default_rng(seed).integers(9, size=(count, CONTEXTS, OUTCOMES)).astype(float)


def agree(found: dict[tuple[int, int], float], wanted: dict[tuple[int, int], float]) -> bool:
    return found.keys() == wanted.keys() and all(
        math.isclose(found[key], wanted[key], rel_tol=1e-9, abs_tol=1e-12) for key in wanted
    )


@pytest.mark.parametrize(("windows", "count", "seed"), [(8, 1, 0), (6, 2, 1), (5, 3, 2), (1, 2, 3)])
def test_the_posterior_is_that_of_all_segmentations(windows: int, count: int, seed: int) -> None:
    seen, known = stream(seed, windows), known_tasks(count, seed)
    assert agree(filtered(seen, known), brute_force(seen, known))


class Leaking(SegmentFilter):
    """What a segment has counted leaks into the next one."""

    def _let_segments_begin(self) -> None:
        before = self._counts[:1]
        super()._let_segments_begin()
        self._counts[-1] = before[0]


class Repeating(SegmentFilter):
    """A segment may be followed by one of the same known task."""

    def _let_segments_begin(self) -> None:
        labels = self._labels
        self._labels = np.where(labels == 1, 2, labels)
        super()._let_segments_begin()
        self._labels[: len(labels)] = labels


class Remembering(SegmentFilter):
    """Nothing fades."""

    def add(self, window: segments.Floats) -> segments.Switch | None:
        self._keeps = 1.0
        return super().add(window)


@pytest.mark.parametrize("wrong", [Leaking, Repeating, Remembering])
def test_what_is_wrong_is_found(wrong: type[SegmentFilter]) -> None:
    seen, known = stream(4, 5), known_tasks(3, 4)
    wanted = brute_force(seen, known)
    assert agree(filtered(seen, known), wanted)
    assert not agree(filtered(seen, known, wrong), wanted)


def test_a_wrong_hazard_is_found() -> None:
    seen, known = stream(5, 5), known_tasks(2, 5)
    assert not agree(filtered(seen, known, hazard=0.11), brute_force(seen, known))


def test_outcomes_of_a_window_are_a_distribution() -> None:
    counts = known_tasks(3, 6)
    singles = [counted([(1, outcome)]) for outcome in range(OUTCOMES)]
    logs = np.array([segments.log_predictive(counts, one) for one in singles])
    np.testing.assert_allclose(np.exp(logs).sum(axis=0), 1.0)
    np.testing.assert_allclose(np.exp(segments.log_frequencies(counts)).sum(axis=2), 1.0)


def test_where_a_task_has_not_been_it_is_as_all_are() -> None:
    counts = np.zeros((2, CONTEXTS, OUTCOMES))
    counts[0] = [[0, 9, 0], [5, 0, 0]]
    counts[1, 1] = [0, 5, 0]
    found = np.exp(segments.log_frequencies(counts))
    pooled = np.array([0.1, 9.1, 0.1]) / 9.3
    np.testing.assert_allclose(found[:, 0], [(np.array([0, 9, 0]) + 0.3 * pooled) / 9.3, pooled])
    assert found[0, 1, 0] > 0.9 > 0.1 > found[1, 1, 0]


A, B, C = ([0.8, 0.1, 0.1], [0.1, 0.1, 0.8]), ([0.1, 0.8, 0.1], [0.8, 0.1, 0.1]), ([1 / 3] * 3,) * 2


def declared(
    tasks: str, windows: int = 30, hazard: float = 1e-3, most: int = 4, seed: int = 0
) -> list[tuple[int, int, int]]:
    """Return windows declared and begun, and the task, of switches in segments of these tasks."""
    rng = np.random.default_rng(seed)
    found = SegmentFilter(CONTEXTS, OUTCOMES, tasks=most, hazard=hazard, sure=0.99, memory=100)
    switches = []
    for task in tasks:
        for _ in range(windows):
            rows = [rng.multinomial(20, p) for p in {"A": A, "B": B, "C": C}[task]]
            if (switch := found.add(np.array(rows, float))) is not None:
                switches.append((switch.declared, switch.began, switch.task))
    return switches


@pytest.mark.parametrize("seed", range(5))
def test_what_recurs_is_recognised_within_four_windows(seed: int) -> None:
    switches = declared("ABABCA", seed=seed)
    assert [(began, task) for _, began, task in switches] == [
        (30, 1),
        (60, 0),
        (90, 1),
        (120, 2),
        (150, 0),
    ]
    assert all(LEAST <= when - began <= 4 for when, began, _ in switches)


def test_identical_phases_are_one_task() -> None:
    assert declared("AAA") == []
    assert [task for *_, task in declared("ABBA")] == [1, 0]


def test_what_never_ends_has_no_switch() -> None:
    assert declared("AB", hazard=1e-300, windows=4) == []
    assert [task for *_, task in declared("AB", hazard=1e-3, windows=4)] == [1]


def test_more_tasks_than_there_may_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"none of the 2 that it has found.*tasks = 2"):
        declared("ABC", most=2)


def test_few_hypotheses_are_kept_and_the_declared_one_among_them() -> None:
    found = SegmentFilter(CONTEXTS, OUTCOMES, tasks=4, hazard=0.01, sure=NEVER, memory=100)
    rng = np.random.default_rng(0)
    for _ in range(60):
        found.add(rng.multinomial(2, [1 / 3] * 3, size=CONTEXTS).astype(float))
    posterior = found.posterior()
    assert len(posterior) == segments.MOST
    assert (0, 0) in posterior
    assert math.isclose(sum(posterior.values()), 1.0)


def test_a_state_resumes_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    seen = [np.array([rng.multinomial(9, p) for p in (A, B, A)[i // 8]], float) for i in range(24)]
    one, other = (
        SegmentFilter(CONTEXTS, OUTCOMES, tasks=4, hazard=0.01, sure=0.99, memory=9) for _ in "ab"
    )
    for window in seen[:13]:
        one.add(window)
    other.load_state_dict(one.state_dict())
    for window in seen[13:]:
        assert one.add(window) == other.add(window)
    assert one.posterior() == other.posterior()
    np.testing.assert_array_equal(one.models, other.models)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"task": 1}, "task = 1"),
        ({"labels": np.array([NEW])}, "must be the task"),
        ({"known": np.zeros((5, CONTEXTS, OUTCOMES))}, "number of known tasks"),
        ({"counts": np.full((1, CONTEXTS, OUTCOMES), -1.0)}, "counts go from -1"),
        ({"begins": np.array([7])}, "begins go from 7"),
    ],
)
def test_a_damaged_state_is_refused(damage: dict[str, object], message: str) -> None:
    found = SegmentFilter(CONTEXTS, OUTCOMES, tasks=4, hazard=0.01, sure=0.99, memory=9)
    with pytest.raises(ValueError, match=message):
        found.load_state_dict({**found.state_dict(), **damage})
