"""The paper's training problems: 6,000 of DeepScaleR-Preview and 4,000 "from the intermediate levels" of MATH.

The paper (Experiment setup, "Training Details") says no more than this. What is assumed here:

- MATH means its training split, because MATH-500 is a part of the test split.
- Intermediate are, unless others are named, the levels 2, 3 and 4 of 1 to 5. Levels 3 and 4 have 1,592 and 1,690
  problems in the training split, fewer than 4,000.
- Within each set all problems are as likely to be drawn, DeepScaleR's without those that are in MATH, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from lapo_verl.data.prepare import Prepared
from lapo_verl.data.problems import Problem, SourceError
from lapo_verl.data.screen import LeftOut, normalized, without_overlap


def draw(
    deepscaler: Prepared, math: Prepared, levels: Collection[int], deepscaler_count: int, math_count: int, seed: int
) -> Prepared:
    """So many of each, mixed. Which ones depends on the problems and the seed, not on the order of the files.

    Raises:
        SourceError: a set has fewer problems than are wanted.
    """
    left_out = LeftOut()
    left_out.update(deepscaler.left_out)
    left_out.update(math.left_out)
    in_math = {normalized(problem.question): "of DeepScaleR, also in MATH" for problem in math.problems}
    others = without_overlap(deepscaler.problems, in_math, left_out)
    of_levels = [problem for problem in math.problems if problem.level in levels]
    named = f"MATH, levels {', '.join(map(str, levels))}"
    chosen = _drawn(others, deepscaler_count, seed, "DeepScaleR") + _drawn(of_levels, math_count, seed, named)
    return Prepared(_shuffled(chosen, seed), left_out)


def _drawn(problems: Sequence[Problem], count: int, seed: int, name: str) -> list[Problem]:
    if len(problems) < count:
        raise SourceError(f"{name}: {count:,} problems are asked for, and only {len(problems):,} exist; ask for fewer")
    return _shuffled(problems, seed)[:count]


def _shuffled(problems: Sequence[Problem], seed: int) -> list[Problem]:
    """In an order that depends on ids and seed only, the same on every machine."""
    return sorted(problems, key=lambda problem: hashlib.sha256(f"{seed}/{problem.problem_id}".encode()).digest())
