"""The laboratory's puzzles and traces: what its measurements and the grid take for granted."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapo_verl.verify import is_correct
from toy import task

SETTINGS = task.TraceSettings()
EVERY_LEVEL = st.sampled_from([*task.LEVELS, *task.HARDER_LEVELS])


# No checks, or one of every link.
NEVER = task.TraceSettings(check_plain=0.0, check_fork=0.0)
ALWAYS = task.TraceSettings(check_plain=1.0, check_fork=1.0)
PLAIN = task.Link((4,), 3, 4)


def of(*links: task.Link) -> task.Problem:
    return task.Problem(1, links + (PLAIN,) * (len(task.LETTERS) - len(links)))


def test_a_fork_means_the_digit_whose_product_ends_as_said() -> None:
    fork = task.Link((7, 2), 3, 2)
    assert (fork.text, fork.fits(2), fork.fits(7)) == ("72*3=6", True, False)
    problem = of(fork)
    assert problem.question == "a72*3=6;b4*3=2;c4*3=2;d4*3=2;e4*3=2;f4*3=2?"
    assert task.fork_letters(problem.problem_id) == ["a"]


def test_the_answer_is_the_two_sums_with_the_last_link_in_the_second() -> None:
    assert task.answer_of([1, 2, 3, 4, 5, 6]) == "92"
    assert task.answer_of([9, 1, 1, 1, 0, 1]) == "03"
    assert of().answer == "22"


def test_a_fork_that_both_digits_fit_halves_the_best_accuracy() -> None:
    ambiguous, clear = task.Link((7, 2), 4, 2), task.Link((7, 2), 3, 2)
    assert task.best_accuracy(of(clear).problem_id) == 1.0
    assert task.best_accuracy(of(ambiguous, clear).problem_id) == 0.5
    assert task.best_accuracy(of(ambiguous, ambiguous).problem_id) == 0.25


@given(seed=st.integers(0, 10_000), level=EVERY_LEVEL)
def test_a_problem_has_the_forks_of_its_level_and_its_digits_fit(seed: int, level: int) -> None:
    problem = task.draw_problem(random.Random(seed), level)
    assert sum(len(link.options) == 2 for link in problem.links) == task.FORKS[level]
    assert len(task.fork_letters(problem.problem_id)) == task.FORKS[level]
    assert all(link.digit in link.options and link.fits(link.digit) for link in problem.links)


def test_a_written_out_trace_is_read() -> None:
    text = " steady:a303b7 check7*3=1,6 no alternatively232c5 given5*7=5,5 ok28d8 given8*6=8,8 ok80e101f111"
    steps = task.read_trace(text + " wait:a03b32c28d80e01f11 so11</think>\\boxed{11}")
    assert [(step.first, step.checks, step.last) for step in steps] == [
        (3, 0, 3),
        (7, 1, 2),
        (5, 1, 5),
        (8, 1, 8),
        (1, 0, 1),
        (1, 0, 1),
    ]
    assert task.read_trace(" steady:a303b7 wait7*3=1,6 so</think>\\boxed{01}") == []


@given(seed=st.integers(0, 10_000), level=EVERY_LEVEL)
def test_reading_a_trace_gives_its_answer_back(seed: int, level: int) -> None:
    rng = random.Random(seed)
    problem = task.draw_problem(rng, level)
    trace = task.draw_trace(rng, problem, SETTINGS)
    steps = task.read_trace(trace.response)
    assert task.answer_of([step.last for step in steps]) == trace.answer == task.boxed_answer(trace.response)
    assert trace.text.count(task.PASS_OPENER) <= SETTINGS.max_passes
    assert is_correct(trace.response, problem.answer) == (trace.answer == problem.answer)


@given(seed=st.integers(0, 10_000), level=EVERY_LEVEL)
def test_checks_leave_no_error_but_where_both_digits_fit(seed: int, level: int) -> None:
    rng = random.Random(seed)
    problem = task.draw_problem(rng, level)
    trace = task.draw_trace(rng, problem, ALWAYS)
    steps = task.read_trace(trace.response)
    assert all(link.fits(step.last) for link, step in zip(problem.links, steps, strict=True))
    if task.best_accuracy(problem.problem_id) == 1.0:
        assert trace.answer == problem.answer


def test_first_digits_err_on_half_of_the_forks_and_checks_are_as_frequent_as_is_said() -> None:
    rng = random.Random(0)
    draws = 1500
    for level, forks in task.FORKS.items():
        right = checks = 0
        for _ in range(draws):
            problem = task.draw_problem(rng, level)
            right += task.draw_trace(rng, problem, NEVER).answer == problem.answer
            trace = task.draw_trace(rng, problem, SETTINGS)
            checks += sum(step.checks for step in task.read_trace(trace.response))
        # A few more are right because errors cancel.
        assert 0.5**forks - 0.04 < right / draws < 0.5**forks + 0.08
        expected = SETTINGS.check_plain * (6 - forks) + SETTINGS.check_fork * forks
        assert checks / draws == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("style", task.STYLES)
def test_a_trace_goes_over_its_sums_as_often_as_its_style_says(style: str) -> None:
    rng = random.Random(0)
    problem = task.draw_problem(rng, 3)
    first, further = task.STYLES[style]
    settings = task.TraceSettings(styles={style: (first, further)})
    traces = [task.draw_trace(rng, problem, settings) for _ in range(2000)]
    passes = [trace.text.count(task.PASS_OPENER) for trace in traces]
    assert sum(count > 0 for count in passes) / 2000 == pytest.approx(first, abs=0.04)
    assert sum(count > 1 for count in passes) / 2000 == pytest.approx(first * further, abs=0.04)
    assert max(passes) <= SETTINGS.max_passes
    for trace in traces:
        assert trace.text.startswith(style + ":")
        # A pass says the sums of the trace again, and its last ones are the answer.
        assert all(part[-2:] == trace.answer for part in re.findall(r" wait:([a-f0-9]*)", trace.text))


def test_most_traces_make_no_further_pass() -> None:
    assert sum(first for first, _ in task.STYLES.values()) / len(task.STYLES) < 0.5


def test_no_answer_is_read_where_there_is_none() -> None:
    assert task.boxed_answer("a303 check") is None
    assert task.boxed_answer("a303 \\boxed{01}") is None


def test_problems_of_a_split_are_different_and_not_excluded() -> None:
    first = task.draw_problems(random.Random(0), 50)
    names = {problem.problem_id for problem in first}
    second = task.draw_problems(random.Random(0), 50, exclude=names)
    assert len(names) == 50 * len(task.LEVELS)
    assert names.isdisjoint(problem.problem_id for problem in second)
