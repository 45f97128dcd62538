import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapo_verl.method import LengthStats, discovery_budget, guidance_text, update_budget

some_lengths = st.lists(st.integers(0, 10**6), max_size=16)
statistics = st.sampled_from(["median", "mean", "minimum"])


def test_discovery_writes_the_median_anew() -> None:
    assert discovery_budget(900.0, LengthStats.of([100, 300])) == 200.0


def test_discovery_unsolved_visit_resets_or_keeps() -> None:
    assert discovery_budget(900.0, None) is None
    assert discovery_budget(900.0, None, on_unsolved="keep") == 900.0
    with pytest.raises(ValueError, match="on_unsolved"):
        discovery_budget(1.0, None, on_unsolved="forget")


def test_eq_8_golden() -> None:
    assert update_budget(None, LengthStats.of([80, 90])) == 85.0  # newly solved: the median
    assert update_budget(100.0, LengthStats.of([80, 90])) == 85.0  # min(100, 85)
    assert update_budget(70.0, LengthStats.of([80, 90])) == 70.0  # min(70, 85)
    assert update_budget(100.0, None) == 100.0  # no correct rollout
    assert update_budget(None, None) is None


@given(st.floats(0, 1e6), some_lengths, statistics)
def test_eq_8_never_raises_a_solved_budget(budget: float, lengths: list[int], statistic: str) -> None:
    after = update_budget(budget, LengthStats.of(lengths), statistic)
    assert after is not None
    assert after <= budget


@given(st.one_of(st.none(), st.floats(0, 1e6)), some_lengths, statistics)
def test_a_visit_with_a_correct_rollout_solves(budget: float | None, lengths: list[int], statistic: str) -> None:
    stats = LengthStats.of(lengths)
    solved = budget is not None or stats is not None
    assert (update_budget(budget, stats, statistic) is not None) == solved


def test_guidance_sentences() -> None:
    assert guidance_text("exact", budget=512.0) == " I will answer the question with 512 tokens."
    assert guidance_text("exact", budget=62.5) == " I will answer the question with 63 tokens."
    assert guidance_text("exact", budget=512.0, rounding=50) == " I will answer the question with 500 tokens."
    assert guidance_text("exact", budget=0.0) == " I will answer the question with 1 tokens."
    assert guidance_text("range", low=10.2, high=20.0) == " I will answer the question with 10 to 20 tokens."
    assert guidance_text("implicit", budget=5.0) == ""
    assert guidance_text("exact", budget=8.0, text=" At most {budget}.") == " At most 8."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "precise", "budget": 5.0}, "form.*precise"),
        ({"form": "exact"}, "budget"),
        ({"form": "range", "low": 5.0}, "high"),
        ({"form": "exact", "budget": 5.0, "text": "{tokens}"}, "tokens"),
        ({"form": "exact", "budget": 5.0, "text": "{budget"}, "text"),
        ({"form": "exact", "budget": 5.0, "rounding": 0}, "rounding"),
    ],
)
def test_bad_guidance_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        guidance_text(**arguments)  # type: ignore[arg-type]
