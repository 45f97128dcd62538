"""The list of trainings: each table's rows are there, in an order in which they can be trained."""

from __future__ import annotations

import json

import pytest

from lapo_verl.config import check_overrides
from lapo_verl.objectives import objective
from mini_paper.grid import BASE, PEERS, TABLES, TRAININGS, Training, needed


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


@pytest.mark.parametrize("name", ["acc_only", *(peer.name for peer in PEERS)])
def test_a_method_of_one_stage_is_trained_for_as_long_as_both_of_lapo(name: str) -> None:
    assert TRAININGS[name].stages == TRAININGS["lapo_d"].stages + TRAININGS["lapo_i"].stages


def test_every_peer_is_in_table_5_beside_lapo() -> None:
    peers = "overlong truncation kimi arora_zanette l1_exact l1_max alp laser laser_d gr3 hapo shorterbetter acoer"
    assert TABLES["table5"] == ("acc_only", "lapo_d", "lapo_i", *peers.split())


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_s_settings_are_fields_of_its_objective(peer: Training) -> None:
    values = dict(override.split("=", 1) for override in peer.overrides)
    name = values.pop("objective")
    prefix = "lapo.objective."
    fields = {key.removeprefix(prefix): json.loads(value) for key, value in values.items() if key.startswith(prefix)}
    made = objective(name, **fields)
    assert all(getattr(made, key) == value for key, value in fields.items())
