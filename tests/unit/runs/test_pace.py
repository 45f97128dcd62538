"""The time left of a training: a guess at first, then by its own steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapo_verl.runs.pace import Pace, in_words

SECONDS = st.floats(0, 1000)
PACES = st.builds(Pace, SECONDS, SECONDS, SECONDS)


@given(PACES, st.integers(1, 50))
def test_at_the_start_the_whole_training_is_left_and_at_the_end_nothing(pace: Pace, steps: int) -> None:
    assert pace.left(steps, 0, 0) == pytest.approx(pace.whole(steps))
    assert pace.left(steps, steps, 0) == 0
    assert pace.whole(0) == 0


@given(PACES, st.integers(1, 50), st.floats(0, 3000), st.floats(0, 3000), st.data())
def test_the_time_left_never_grows_while_one_waits(
    pace: Pace, steps: int, waited: float, longer: float, data: st.DataObject
) -> None:
    done = data.draw(st.integers(0, steps))
    early, late = pace.left(steps, done, min(waited, longer)), pace.left(steps, done, max(waited, longer))
    assert 0 <= late <= early


@given(PACES, st.integers(1, 50))
def test_a_step_that_takes_as_long_as_expected_changes_nothing(pace: Pace, steps: int) -> None:
    """The sum of what has passed and what is left is the whole, at the end of each step."""
    for done in range(1, steps):
        passed = pace.start + done * pace.step
        assert passed + pace.left(steps, done, 0) == pytest.approx(pace.whole(steps))


def test_a_slower_machine_shows_in_the_pace_after_one_step() -> None:
    guess = Pace(start=40, step=5, end=10)
    running = guess.measured(until_first_step=90, steps=[12])
    assert running == Pace(start=78, step=12, end=10)
    ended = guess.measured(until_first_step=90, steps=[12, 10, 11], whole=131)
    assert ended == Pace(start=78, step=11, end=20)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "about 10 s"), (44, "about 40 s"), (91, "about 2 min"), (300, "about 5 min")]
)
def test_time_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
