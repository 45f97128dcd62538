import pytest

from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.guidance.sentence import (
    guidance_sentence,
    shown_budget,
    shows_band,
    visit_draw,
    visit_is_guided,
    with_sentence,
)


def test_range_names_the_band() -> None:
    guidance = GuidanceConfig(form="range")
    sentence = guidance_sentence(guidance, 250.0, (190.0, 310.0), 4096)
    assert sentence == " I will answer the question with 190 to 310 tokens."
    assert shows_band(guidance) and shows_band(GuidanceConfig(text=" At most {high}."))
    assert not shows_band(GuidanceConfig())


def test_an_unsolved_problem_names_the_limit_or_nothing() -> None:
    ranged = guidance_sentence(GuidanceConfig(form="range"), None, None, 4096)
    assert ranged == " I will answer the question with 4096 to 4096 tokens."
    assert guidance_sentence(GuidanceConfig(), None, None, 4096) == " I will answer the question with 4096 tokens."
    assert guidance_sentence(GuidanceConfig(unsolved="silent"), None, None, 4096) == ""


@pytest.mark.parametrize(
    ("guidance", "budget", "shown"),
    [
        (GuidanceConfig(), 512.0, 512.0),
        (GuidanceConfig(), 62.5, 63.0),
        (GuidanceConfig(rounding=100), 12.0, 100.0),
        (GuidanceConfig(form="range", rounding=100), 151.0, 200.0),
        (GuidanceConfig(form="implicit"), 62.5, None),
        (GuidanceConfig(text=" Be brief."), 62.5, None),
        (GuidanceConfig(), None, None),
    ],
)
def test_the_number_that_a_prompt_shows(guidance: GuidanceConfig, budget: float | None, shown: float | None) -> None:
    assert shown_budget(guidance, budget) == shown
    if shown and guidance.form == "exact":
        assert f" {shown:g} " in guidance_sentence(guidance, budget, None, 4096)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_is_kept_over_problems_and_over_visits(share: float) -> None:
    over_problems = [visit_is_guided(f"p{i}", 3, share) for i in range(2000)]
    over_visits = [visit_is_guided("p", step, share) for step in range(2000)]
    assert sum(over_problems) / 2000 == pytest.approx(share, abs=0.04)
    assert sum(over_visits) / 2000 == pytest.approx(share, abs=0.04)


def test_a_share_of_one_guides_every_visit() -> None:
    assert all(visit_is_guided(f"p{i}", i, 1.0) for i in range(1000))


def test_a_visit_draws_a_number_of_its_own_and_always_the_same() -> None:
    draws = [visit_draw(f"p{i}", 3) for i in range(2000)]
    assert draws == [visit_draw(f"p{i}", 3) for i in range(2000)]
    assert min(draws) >= 0 and max(draws) < 1
    assert sum(draws) / 2000 == pytest.approx(0.5, abs=0.03)
    # Whether a visit is guided says nothing of what it draws.
    guided = [draw for i, draw in enumerate(draws) if visit_is_guided(f"p{i}", 3, 0.5)]
    assert sum(guided) / len(guided) == pytest.approx(0.5, abs=0.05)


def test_the_last_user_turn_gets_the_sentence() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert [m["content"] for m in with_sentence(messages, " S.")] == ["a", "b", "c S."]
    assert messages[2]["content"] == "c"
    with pytest.raises(ValueError, match="user turn"):
        with_sentence([{"role": "system", "content": "a"}], " S.")
