"""The list of trainings: each table's rows are there, in an order in which they can be trained."""

from __future__ import annotations

import pytest

from lapo_verl.config import check_overrides
from lapo_verl.objectives import objective
from mini_paper.grid import BASE, TABLES, TRAININGS, needed


@pytest.mark.parametrize("table", TABLES)
def test_a_training_comes_after_the_one_that_it_starts_from(table: str) -> None:
    order = [training.name for training in needed(table)]
    assert set(TABLES[table]) - {BASE} <= set(order)
    for training in needed(table):
        if training.parent:
            assert order.index(training.parent) < order.index(training.name)


def test_every_row_of_every_table_is_a_training_and_every_training_is_in_a_table() -> None:
    rows = {name for table in TABLES.values() for name in table} - {BASE}
    assert rows == set(TRAININGS)


def test_overrides_are_keys_that_there_are() -> None:
    for training in TRAININGS.values():
        check_overrides(training.overrides)
        # A store is rebuilt with what Discovery's budgets depend on, and its rewards do not.
        assert set(training.rebuilt) <= {"statistic", "on_unsolved"}
        objective("discovery", **training.rebuilt)


def test_accuracy_alone_is_trained_for_as_long_as_both_stages() -> None:
    assert TRAININGS["acc_only"].stages == TRAININGS["lapo_d"].stages + TRAININGS["lapo_i"].stages
