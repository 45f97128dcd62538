"""verl's validation metrics best@N and worst@N, with the same numbers in less time.

verl has no hook here, so importing this module puts ``bootstrap_metric`` in the place of verl's function. For each
problem, column and N verl draws 1,000 samples and calls numpy for each of them. LAPO's reward manager adds five columns
of numbers: 500 problems with 4 answers each take more than a minute, and no GPU works in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from verl.trainer.ppo import metric_utils

verls_own = metric_utils.bootstrap_metric


def bootstrap_metric(
    data: list[Any], subset_size: int, reduce_fns: list[Callable[..., Any]], n_bootstrap: int = 1000, seed: int = 42
) -> list[tuple[float, float]]:
    """Mean and standard deviation of each function over samples of ``data``, drawn as verl draws them.

    Args:
        data: values of a column, of one problem's answers.
        subset_size: N of best@N, values in a sample.
        reduce_fns: ``np.max`` and ``np.min`` of numbers are computed here. All else is left to verl: other functions,
            and data that contain NaN, whose order with other numbers Python and numpy see differently.
        n_bootstrap: samples.
        seed: of numpy's global generator, which is set as verl sets it.
    """
    values = np.array(data)
    is_plain = values.ndim == 1 and values.dtype.kind in "biuf" and not np.isnan(values).any()
    if not is_plain or any(function not in (np.max, np.min) for function in reduce_fns):
        return verls_own(data, subset_size, reduce_fns, n_bootstrap, seed)  # type: ignore[no-any-return]
    np.random.seed(seed)
    samples = values.astype(np.float64)[np.random.choice(len(values), size=(n_bootstrap, subset_size), replace=True)]
    reduced = [function(samples, axis=1) for function in reduce_fns]
    return [(float(np.mean(column)), float(np.std(column))) for column in reduced]


metric_utils.bootstrap_metric = bootstrap_metric
