"""Other intervals for the mean of scores in a range, on the populations that ours is tried on.

``python tests/interval_candidates.py`` prints how often each holds the mean, and how wide it is: it
is how the one in use was chosen. All compute the intervals of many samples at once; those that draw
resamples draw the same ones for every sample.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import numpy as np
import numpy.typing as npt
from bounded_runs import POPULATIONS, Population, published
from scipy import special, stats

Floats = npt.NDArray[np.float64]
Ends = tuple[Floats, Floats]
Interval = Callable[[Floats], Ends]
"""Makes the 95 % intervals of samples of scores between 0 and 1, shape ``(trials, runs)``."""

RESAMPLES = 1_999
TAIL = 0.025


def t_quantile(freedom: float) -> float:
    """Return the quantile of Student's t for 95 %."""
    return float(special.stdtrit(freedom, 1 - TAIL))


def cut(interval: Interval) -> Interval:
    """Cut an interval off at 0 and 1."""

    def cut_off(x: Floats) -> Ends:
        low, high = interval(x)
        return np.clip(low, 0, 1), np.clip(high, 0, 1)

    return cut_off


def student(x: Floats, added: float = 0, place: float = 0.5) -> Ends:
    """Student's t, with runs added at a place that count for so many."""
    runs = x.shape[1] + added
    mean = (x.sum(1) + added * place) / runs
    squares = ((x - mean[:, None]) ** 2).sum(1) + added * (place - mean) ** 2
    half = t_quantile(runs - 1) * np.sqrt(squares / (runs - 1) / runs)
    return mean - half, mean + half


def with_middle(x: Floats, added: float) -> Ends:
    """What is in use, where two runs are added: the hull of t without and with them."""
    (a, b), (c, d) = student(x), student(x, added)
    return np.minimum(a, c), np.maximum(b, d)


def of_logit(x: Floats, added: float = 0) -> Ends:
    """Student's t for the logit of the mean, by the delta method."""
    low, high = student(x, added)
    mean = np.clip((low + high) / 2, 1e-12, 1 - 1e-12)
    half = (high - low) / 2 / (mean * (1 - mean))
    return special.expit(special.logit(mean) - half), special.expit(special.logit(mean) + half)


@cache
def drawn(runs: int) -> Floats:
    """How often each run is in each resample."""
    return np.random.default_rng(0).multinomial(runs, np.full(runs, 1 / runs), RESAMPLES) / runs


def expanded_bca(x: Floats) -> Ends:
    """BCa with expanded percentiles, which is in use where no range is known."""
    runs = x.shape[1]
    y = np.sort(x, 1) - x.mean(1, keepdims=True)
    means = np.sort(y @ drawn(runs).T, 1)
    tie = 1e-9 * np.ptp(means, axis=1, keepdims=True)
    below = ((means < -tie).mean(1) + (means <= tie).mean(1)) / 2
    bias = special.ndtri(np.clip(below, 0.5 / RESAMPLES, 1 - 0.5 / RESAMPLES))
    squares = (y**2).sum(1)
    lean = (y**3).sum(1) / (6 * np.maximum(squares, 1e-100) ** 1.5)
    quantile = t_quantile(runs - 1) * math.sqrt(runs / (runs - 1))
    ends = []
    for shifted in (bias - quantile, bias + quantile):
        room = 1 - lean * shifted
        level = special.ndtr(bias + shifted / np.where(room > 0, room, 1))
        level = np.where(room > 0, level, shifted > 0)
        at = np.round(level * (RESAMPLES - 1)).astype(int)
        ends.append(means[np.arange(len(x)), at] + x.mean(1))
    return ends[0], ends[1]


def bootstrap_t(x: Floats) -> Ends:
    """Bootstrap of the studentised mean."""
    runs = x.shape[1]
    mean, deviation = x.mean(1), x.std(1, ddof=1)
    y = x - mean[:, None]
    first, second = y @ drawn(runs).T, y**2 @ drawn(runs).T
    spread = np.sqrt(np.maximum(second - first**2, 0) * runs / (runs - 1))
    studentised = first / np.maximum(spread, 1e-3 * deviation[:, None] + 1e-12)
    low, high = np.quantile(studentised, (TAIL, 1 - TAIL), axis=1)
    return mean - high * deviation, mean - low * deviation


def bayesian_bootstrap(x: Floats) -> Ends:
    """Rubin 1981."""
    weights = np.random.default_rng(0).dirichlet(np.ones(x.shape[1]), RESAMPLES)
    low, high = np.quantile(x @ weights.T, (TAIL, 1 - TAIL), axis=1)
    return low, high


def learned_miller_thomas(x: Floats, weight: float = 1) -> Ends:
    """Learned-Miller and Thomas 2019: uniform spacings, each put at its lower or upper end.

    Of runs that are all at an end it is Clopper and Pearson's interval; with half the weight at the
    ends, in the manner of Jeffreys, it is shorter, and no longer exact.
    """
    runs = x.shape[1]
    rng = np.random.default_rng(0)
    weights = rng.dirichlet([*np.ones(runs), weight], RESAMPLES)
    means = np.sort(x, 1) @ weights[:, :runs].T
    return (
        np.quantile(means, TAIL, axis=1),
        np.quantile(means + weights[:, runs], 1 - TAIL, axis=1),
    )


def anderson(x: Floats) -> Ends:
    """Anderson 1969: the mean of the highest and lowest curves in a one-sided band of the CDF."""
    runs = x.shape[1]
    band = float(stats.ksone.ppf(1 - TAIL, runs))
    weights = np.diff(np.maximum(np.arange(runs + 1) / runs - band, 0))
    return np.sort(x, 1)[:, ::-1] @ weights, np.sort(x, 1) @ weights + band


def betting(x: Floats, grid: int = 501) -> Ends:
    """Waudby-Smith and Ramdas 2023: hedged capital, in the order in which the runs are given."""
    runs = x.shape[1]
    means = (np.cumsum(x, 1) + 0.5) / np.arange(2, runs + 2)
    spread = (np.cumsum((x - means) ** 2, 1) + 0.25) / np.arange(2, runs + 2)
    before = np.column_stack([np.full(len(x), 0.25), spread[:, :-1]])
    stake = np.sqrt(2 * math.log(2 / 0.05) / (runs * before))
    mean = np.linspace(0, 1, grid)
    up, down = np.zeros((2, len(x), grid))
    with np.errstate(divide="ignore"):
        for run in range(runs):
            off = x[:, [run]] - mean
            up += np.log1p(np.minimum(stake[:, [run]], 0.5 / mean) * off)
            down += np.log1p(-np.minimum(stake[:, [run]], 0.5 / (1 - mean)) * off)
    inside = np.maximum(up, down) < math.log(2 / 0.05)
    low, high = inside.argmax(1), grid - 1 - inside[:, ::-1].argmax(1)
    return mean[np.maximum(low - 1, 0)], mean[np.minimum(high + 1, grid - 1)]


def empirical_likelihood(x: Floats, adjusted: bool = False) -> Ends:
    """Owen 1988, calibrated by F; or as Chen, Variyath and Abraham 2008 adjust it."""
    runs = x.shape[1]
    least = t_quantile(runs - 1) ** 2
    if not adjusted:
        least *= runs / (runs - 1)
    mean = x.mean(1)
    ends = []
    for limit in (0.0, 1.0):
        inner, outer = mean, np.full(len(x), limit)
        for _ in range(30):
            trial = (inner + outer) / 2
            off = x - trial[:, None]
            if adjusted:
                extra = -max(1, math.log(runs) / 2) * off.mean(1)
                off = np.column_stack([off, extra])
            inside = _likelihood_ratio(off) < least
            inner, outer = np.where(inside, trial, inner), np.where(inside, outer, trial)
        ends.append(inner)
    return ends[0], ends[1]


def _likelihood_ratio(off: Floats) -> Floats:
    """Return -2 log R of the hypothesis that the mean of ``off`` is 0, for each row."""
    low, high = off.min(1), off.max(1)
    possible = (low < 0) & (high > 0)
    a = np.where(possible, -1 / np.where(possible, high, 1), 0) * (1 - 1e-10)
    b = np.where(possible, -1 / np.where(possible, low, -1), 0) * (1 - 1e-10)
    for _ in range(40):
        middle = (a + b) / 2
        rising = (off / (1 + middle[:, None] * off)).sum(1) > 0
        a, b = np.where(rising, middle, a), np.where(rising, b, middle)
    logs = np.log1p(np.where(possible, (a + b) / 2, 0)[:, None] * off)
    return np.where(possible, 2 * logs.sum(1), np.inf)


CANDIDATES: Mapping[str, Interval] = {
    "Student's t": cut(student),
    "expanded BCa": cut(expanded_bca),
    "bootstrap-t": cut(bootstrap_t),
    "t of the logit": of_logit,
    "empirical likelihood, F": cut(empirical_likelihood),
    "adjusted empirical likelihood": cut(partial(empirical_likelihood, adjusted=True)),
    "Bayesian bootstrap": bayesian_bootstrap,
    "Anderson": cut(anderson),
    "betting": betting,
    "Learned-Miller and Thomas": learned_miller_thomas,
    "the same, half the weight": partial(learned_miller_thomas, weight=0.5),
    "t of the logit, half a run in the middle": partial(of_logit, added=0.5),
    "t, half a run in the middle": cut(partial(with_middle, added=0.5)),
    "t, one run in the middle": cut(partial(with_middle, added=1)),
    "t, two runs in the middle": cut(partial(with_middle, added=2)),
}


def tried(interval: Interval, populations: Sequence[Population], runs: int, trials: int) -> Floats:
    """Return coverage and mean width on each population, shape ``(2, populations)``."""
    found = []
    for population in populations:
        cap = population.within.high
        low, high = interval(population.draw(trials, runs) / cap)
        mean = population.mean / cap
        held = (low <= mean + 1e-6) & (mean - 1e-6 <= high)
        found.append((held.mean(), (high - low).mean()))
    return np.array(found).T


def table(title: str, populations: Sequence[Population], trials: int) -> None:
    """Print what all intervals come to on some populations."""
    sizes = (5, 10, 20)
    print(f"\n{title}: lowest and mean coverage, share below .93, median of widths by those of t\n")
    print("| interval |", *(f"{runs} runs |" for runs in sizes))
    least = {runs: tried(CANDIDATES["Student's t"], populations, runs, trials) for runs in sizes}
    for name, interval in CANDIDATES.items():
        cells = []
        for runs in sizes:
            held, width = tried(interval, populations, runs, trials)
            wider = np.median(width / least[runs][1])
            below = (held < 0.93).mean()
            cells.append(f"{held.min():.2f} {held.mean():.2f} {below:.0%} {wider:.2f}")
        print(f"| {name} |", *(f"{cell} |" for cell in cells), flush=True)


def main() -> None:
    """Print the tables of docs/statistics.md on how the interval was chosen."""
    table("synthetic", POPULATIONS, 2_000)
    table("published", list(published())[::7], 400)


if __name__ == "__main__":
    main()
