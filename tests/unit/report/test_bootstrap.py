import numpy as np
import pytest
from scipy import stats

from lapo_verl.report.bootstrap import estimate, resampled_means
from lapo_verl.report.comparison import Bootstrap, average, change, measure, pair
from lapo_verl.runs.dumps import Sample

RESAMPLES = 10_000
# Ends of two intervals of 10,000 resamples each differ by chance: at most this share of the interval, with room.
MONTE_CARLO = 0.05


def close(ours: tuple[float | None, float | None], theirs: object, grid: float = 0) -> bool:
    """Args: grid: the distance of neighbouring means, where they are few; the ends may fall on neighbours."""
    low, high = theirs.confidence_interval  # type: ignore[attr-defined]
    assert ours[0] is not None and ours[1] is not None
    return max(abs(ours[0] - low), abs(ours[1] - high)) <= MONTE_CARLO * (high - low) + 1.001 * grid


@pytest.mark.parametrize("problems", [5, 15, 500])
def test_intervals_are_those_of_scipy(problems: int) -> None:
    draw = np.random.default_rng(1)
    values = np.column_stack([100 * draw.binomial(4, 0.6, problems) / 4, draw.lognormal(6, 1, problems)])
    resampled = resampled_means(values, RESAMPLES, seed=2)
    assert resampled.shape == (RESAMPLES, 2)
    for column, grid in ((0, 100 / (4 * problems)), (1, 0)):
        theirs = stats.bootstrap(
            (values[:, column],), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(3)
        )
        found = estimate(values[:, column].mean(), resampled[:, column], problems)
        assert close((found.low, found.high), theirs, grid)


def samples(problems: int, mean_tokens: float, accuracy: float, seed: int) -> list[Sample]:
    draw = np.random.default_rng(seed)
    hardness = np.random.default_rng(0).normal(0, 0.5, problems)
    return [
        Sample(
            str(p), None, bool(draw.random() < accuracy), int(mean_tokens * np.exp(hardness[p] + draw.normal(0, 0.2)))
        )
        for p in range(problems)
        for _ in range(4)
    ]


def by_problem(rows: list[Sample]) -> tuple[np.ndarray, np.ndarray]:
    accuracy = np.array([[s.correct for s in rows[i : i + 4]] for i in range(0, len(rows), 4)]).mean(axis=1)
    return 100 * accuracy, np.array([[s.tokens for s in rows[i : i + 4]] for i in range(0, len(rows), 4)]).mean(axis=1)


def test_changes_are_paired_as_scipys_are() -> None:
    base, model = samples(80, 400, 0.6, 1), samples(80, 300, 0.7, 2)
    paired = pair(base, model, Bootstrap(RESAMPLES, (0,)))
    assert paired is not None
    found = change([paired])
    (base_acc, base_tokens), (acc, tokens) = by_problem(base), by_problem(model)
    assert found.tokens is not None
    assert found.tokens.value == pytest.approx(100 * (tokens.mean() / base_tokens.mean() - 1))
    assert found.pass_at_1.value == pytest.approx(acc.mean() - base_acc.mean())
    both = {"n_resamples": RESAMPLES, "method": "percentile", "paired": True}
    ratio = stats.bootstrap(
        (tokens, base_tokens),
        lambda a, b, axis: 100 * (a.mean(axis=axis) / b.mean(axis=axis) - 1),
        rng=np.random.default_rng(5),
        **both,
    )
    points = stats.bootstrap(
        (acc, base_acc),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        rng=np.random.default_rng(5),
        **both,
    )
    assert close((found.tokens.low, found.tokens.high), ratio)
    assert close((found.pass_at_1.low, found.pass_at_1.high), points, 100 / (4 * 80))


def test_averages_resample_inside_each_benchmark() -> None:
    first, second = samples(40, 400, 0.6, 1), samples(40, 3000, 0.3, 2)
    bootstrap = Bootstrap(RESAMPLES, (0,))
    found = average([measure(first, bootstrap.of("a")), measure(second, bootstrap.of("b"))])
    theirs = stats.bootstrap(
        (by_problem(first)[1], by_problem(second)[1]),
        lambda a, b, axis: (a.mean(axis=axis) + b.mean(axis=axis)) / 2,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(4),
    )
    assert found.tokens.value == pytest.approx((by_problem(first)[1].mean() + by_problem(second)[1].mean()) / 2)
    assert close((found.tokens.low, found.tokens.high), theirs)


def test_the_same_seed_gives_the_same_interval_and_one_problem_none() -> None:
    values = np.random.default_rng(0).random((30, 1))
    assert (resampled_means(values, 500, 7) == resampled_means(values, 500, 7)).all()
    assert (resampled_means(values, 500, 7) != resampled_means(values, 500, 8)).any()
    alone = measure([Sample("p", None, True, 10)], Bootstrap(500, (0,)))
    assert (alone.tokens.value, alone.tokens.low, alone.tokens.high) == (10.0, None, None)


def test_only_problems_in_common_are_paired() -> None:
    base = [Sample("a", None, True, 100), Sample("b", None, False, 200)]
    model = [Sample("b", None, True, 50), Sample("c", None, True, 1)]
    paired = pair(base, model, Bootstrap(500, (0,)))
    assert paired is not None
    found = change([paired])
    assert (found.problems, found.pass_at_1.value) == (1, 100.0)
    assert found.tokens is not None and found.tokens.value == -75.0
    assert pair(base, model[1:], Bootstrap(500, (0,))) is None


def test_a_base_without_tokens_has_no_percent() -> None:
    paired = pair([Sample("a", None, True, 0)], [Sample("a", None, True, 5)], Bootstrap(500, (0,)))
    assert paired is not None
    assert change([paired]).tokens is None
