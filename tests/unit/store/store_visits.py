"""A short way to write a visit down."""

from __future__ import annotations

from lapo_verl.objectives import objective
from lapo_verl.store import GroupRecord

DISCOVERY, INTERNALIZATION = objective("discovery"), objective("internalization")
WRONG = 4000  # tokens


def visit(problem: str, n: int, correct: tuple[int, ...], prompt_budget: float | None = None) -> GroupRecord:
    """``n`` rollouts: correct ones of these lengths, then wrong ones."""
    wrong = n - len(correct)
    lengths = correct + (WRONG,) * wrong
    return GroupRecord(problem, lengths, (True,) * len(correct) + (False,) * wrong, prompt_budget)
