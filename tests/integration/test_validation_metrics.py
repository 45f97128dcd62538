"""verl's best@N and worst@N of a validation, computed at once, are verl's to the bit."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from verl.trainer.ppo import metric_utils
from verl.trainer.ppo.metric_utils import calc_maj_val, process_validation_metrics

# As verl imports it in the process that validates.
import lapo_verl.hooks.plain_dataset  # noqa: F401
from lapo_verl.hooks.validation_metrics import bootstrap_metric, verls_own

numbers = st.one_of(st.integers(0, 40_000), st.booleans(), st.floats(allow_nan=False, allow_infinity=False, width=32))


@settings(max_examples=25, deadline=None)
@given(data=st.lists(numbers, min_size=1, max_size=9), size=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_numbers_give_what_verl_gives(data: list[Any], size: int, seed: int) -> None:
    arguments: dict[str, Any] = {"subset_size": size, "reduce_fns": [np.max, np.min], "seed": seed}

    verls = verls_own(data, **arguments)
    drawn_after_verls = np.random.rand()
    ours = bootstrap_metric(data, **arguments)

    assert ours == verls
    assert np.random.rand() == drawn_after_verls, "the random numbers after it are the same ones, too"


@pytest.mark.parametrize(
    ("data", "function"),
    [
        ([1.0, float("nan"), 3.0], np.max),
        ([1.0, 2.0, 4.0], np.median),
        (["b", "a"], np.max),
        ([{"pred": "a", "val": 1.0}, {"pred": "b", "val": 0.0}], partial(calc_maj_val, vote_key="pred", val_key="val")),
    ],
)
def test_all_else_is_verls(data: list[Any], function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("lapo_verl.hooks.validation_metrics.verls_own", lambda *given, **named: asked.append(given[0]))
    bootstrap_metric(data, 2, [function])
    assert asked == [data]


def test_verls_validation_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sources, uids = ["math"] * 8, [f"problem {row // 4}" for row in range(8)]
    columns = {"acc": [1.0, 0.0] * 4, "tokens": [*range(8)], "level": ["easy"] * 8, "pred": ["4"] * 8}

    assert metric_utils.bootstrap_metric is bootstrap_metric
    ours = process_validation_metrics(sources, uids, columns)
    monkeypatch.setattr(metric_utils, "bootstrap_metric", verls_own)

    assert ours == process_validation_metrics(sources, uids, columns)
    assert 0 < ours["math"]["tokens"]["worst@2/mean"] < ours["math"]["tokens"]["best@2/mean"] < 8
