"""Names of problems: stable, and different where the problems are."""

from __future__ import annotations

import numpy as np
import pytest

from lapo_verl.store import problem_id

MESSAGES = [{"role": "user", "content": "1+1?"}]


def test_it_is_the_same_for_ever() -> None:
    # sha256 of ["math",[{"content":"1+1?","role":"user"}],"2"]; stores on disk rely on it.
    assert problem_id("math", MESSAGES, "2") == "1bf1dde153e98a8ba69e5c4b99bbbf8d"


def test_the_way_a_file_is_read_makes_no_difference() -> None:
    name = problem_id("math", MESSAGES, ["2", "two"])
    assert problem_id("math", np.array(MESSAGES, dtype=object), np.array(["2", "two"])) == name
    assert problem_id("math", ({"content": "1+1?", "role": "user"},), ("2", "two")) == name
    assert problem_id("math", "x", np.int64(2)) == problem_id("math", "x", 2)


def test_each_part_counts() -> None:
    names = {
        problem_id(*parts)
        for parts in (("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", ["b"], "c"), ("a", "é", "c"))
    }
    assert len(names) == 5


def test_what_has_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        problem_id("math", "x", {1})
