"""Is a model's answer right? Never hangs, never raises on a model's text, is not easily fooled.

>>> from lapo_verl.verify import is_correct
>>> is_correct(r"... so the answer is $\\boxed{1{,}000}$.", "1000")
True

``extract`` finds the final answer, ``normalize`` brings it into one spelling, ``reading`` says what it is, ``compare``
settles nearly everything in this process (its docstring says what counts as the same). What it cannot settle is asked
of math-verify in another process (``client``, ``server``), with a time limit. ``truth`` looks at ground truths when
data are loaded. Importing this package imports neither sympy nor math-verify: only the server does.
"""

from lapo_verl.verify.extract import Form
from lapo_verl.verify.truth import check_ground_truth
from lapo_verl.verify.verifier import (
    DEFAULT_TIMEOUT_S,
    REVISION,
    Verdict,
    is_correct,
    verify,
)

__all__ = [
    "DEFAULT_TIMEOUT_S",
    "REVISION",
    "Form",
    "Verdict",
    "check_ground_truth",
    "is_correct",
    "verify",
]
