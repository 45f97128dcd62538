"""Table 1: Pass@1 and tokens of models with intervals over problems, and their changes against a base."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lapo_verl.report.bootstrap import Estimate, estimate, resampled_means
from lapo_verl.runs.dumps import Sample
from lapo_verl.runs.summary import mean_of_all, problem_means, tokens_of, truncated_percent


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn."""

    resamples: int
    seed: tuple[int, ...]

    def of(self, benchmark: str) -> Bootstrap:
        """With draws of the benchmark's own, so that those of several benchmarks are independent."""
        return Bootstrap(self.resamples, (*self.seed, zlib.crc32(benchmark.encode(errors="replace"))))


@dataclass(frozen=True)
class Measured:
    """One model on one benchmark, or on the average of several.

    Attributes:
        problems, samples: how many there are.
        pass_at_1: percent, mean over problems of the share of correct samples.
        tokens: mean over problems of the mean response tokens.
        truncated: percent of the samples; None where they do not say.
        tokens_right, tokens_wrong: mean tokens of right and of wrong samples; None where there are none.
        resampled: shape (resamples, 2), Pass@1 and tokens of resampled problems.
    """

    problems: int
    samples: int
    pass_at_1: Estimate
    tokens: Estimate
    truncated: float | None
    tokens_right: float | None
    tokens_wrong: float | None
    resampled: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        return {
            "problems": self.problems,
            "samples": self.samples,
            "pass@1": asdict(self.pass_at_1),
            "tokens": asdict(self.tokens),
            "truncated": self.truncated,
            "tokens_right": self.tokens_right,
            "tokens_wrong": self.tokens_wrong,
        }


@dataclass(frozen=True)
class Paired:
    """Base and model on the problems that both answered.

    Attributes:
        problems: how many these are.
        means: shape (4,): base's Pass@1 in percent and tokens, the model's Pass@1 and tokens.
        resampled: shape (resamples, 4), the same of resampled problems, drawn for both together.
    """

    problems: int
    means: NDArray[np.float64]
    resampled: NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """What a model changes against the base, on ``problems`` that both answered.

    Attributes:
        tokens: percent of the base's mean tokens; None where these are 0.
        pass_at_1: percentage points.
    """

    problems: int
    tokens: Estimate | None
    pass_at_1: Estimate

    def to_json(self) -> dict[str, Any]:
        return {
            "problems": self.problems,
            "tokens_percent": None if self.tokens is None else asdict(self.tokens),
            "pass@1_points": asdict(self.pass_at_1),
        }


def measure(samples: Sequence[Sample], bootstrap: Bootstrap) -> Measured:
    """One model's samples of one benchmark."""
    values = np.array(list(problem_means(samples).values()))
    resampled = resampled_means(values, bootstrap.resamples, bootstrap.seed)
    shares = (truncated_percent(samples), tokens_of(samples, True), tokens_of(samples, False))
    return _measured(len(samples), shares, values.mean(axis=0), resampled, [len(values)])


def average(parts: Sequence[Measured]) -> Measured:
    """The plain mean over benchmarks, as in the paper's Table 1; problems are resampled inside each benchmark."""
    shares = (
        mean_of_all([part.truncated for part in parts]),
        mean_of_all([part.tokens_right for part in parts]),
        mean_of_all([part.tokens_wrong for part in parts]),
    )
    return _measured(
        sum(part.samples for part in parts),
        shares,
        np.mean([[part.pass_at_1.value, part.tokens.value] for part in parts], axis=0),
        np.mean([part.resampled for part in parts], axis=0),
        [part.problems for part in parts],
    )


def pair(base: Sequence[Sample], model: Sequence[Sample], bootstrap: Bootstrap) -> Paired | None:
    """Both on the problems in common; None where there are none."""
    ours, theirs = problem_means(model), problem_means(base)
    common = [problem for problem in theirs if problem in ours]
    if not common:
        return None
    values = np.array([(*theirs[problem], *ours[problem]) for problem in common])
    return Paired(len(common), values.mean(axis=0), resampled_means(values, bootstrap.resamples, bootstrap.seed))


def change(pairs: Sequence[Paired]) -> Change:
    """The change on one benchmark, or between the averages over several."""
    problems = [each.problems for each in pairs]
    means = np.mean([each.means for each in pairs], axis=0)
    resampled = np.mean([each.resampled for each in pairs], axis=0)
    tokens = None
    if means[1] > 0 and resampled[:, 1].min() > 0:
        percent = 100 * (resampled[:, 3] / resampled[:, 1] - 1)
        tokens = estimate(float(100 * (means[3] / means[1] - 1)), percent, min(problems))
    points = estimate(float(means[2] - means[0]), resampled[:, 2] - resampled[:, 0], min(problems))
    return Change(sum(problems), tokens, points)


def _measured(
    samples: int,
    shares: tuple[float | None, float | None, float | None],
    means: NDArray[np.float64],
    resampled: NDArray[np.float64],
    problems: Sequence[int],
) -> Measured:
    accuracy, tokens = (
        estimate(float(means[column]), resampled[:, column], min(problems)) for column in range(resampled.shape[1])
    )
    return Measured(sum(problems), samples, accuracy, tokens, *shares, resampled)
