"""What an evaluation is made with. Defaults are the paper's."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lapo_verl.runs.trained_sentence import PREFIX

# The user's instruction of Table 4. The paper gives the lengths (500 and 3500 tokens) and no wording.
CONFLICT_TEXT = " Please answer the question with {n} tokens."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class EvalError(ValueError):
    """An evaluation that cannot be made; the message says why, and what to do."""


@dataclass(frozen=True)
class EvalSettings:
    """How the models are sampled (arXiv 2507.15758, Sec. 5, Evaluation Details).

    Attributes:
        n: samples a problem; ``n_of`` has those of single benchmarks (paper: 32 for AIME and AMC).
        temperature, top_p: of the sampling.
        max_tokens: response limit.
        max_prompt_tokens: a prompt that is longer is an error. The model has to hold both together.
        seed: vLLM's. Another seed gives other samples; one seed gives the same ones only where requests happen to
            be batched alike.
        conflicts: lengths in tokens that a contradicting instruction asks for; each is one more condition in which
            every problem is answered (Table 4).
        conflict_text: that instruction, put behind the user's last turn; ``{n}`` is replaced by the length.
        budgets: tokens that each model is asked for in the words of its training; each is one more condition.
        self_planned: whether problems are asked without a budget as well; of weight only beside ``budgets``.
        cuts: token limits under which the accuracy is also given: a longer response counts as wrong.
        overrides: more of verl's keys, ``key=value``.

    Raises:
        EvalError: a value out of range; the message names it.
    """

    n: int = 4
    n_of: Mapping[str, int] = field(default_factory=dict)
    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 32768
    max_prompt_tokens: int = 1024
    seed: int = 42
    conflicts: tuple[int, ...] = ()
    conflict_text: str = CONFLICT_TEXT
    budgets: tuple[int, ...] = ()
    self_planned: bool = True
    cuts: tuple[int, ...] = ()
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, count in {"n": self.n, **{f"n of {key}": value for key, value in self.n_of.items()}}.items():
            _require(count >= 1, f"{name} must be at least 1, got {count}")
        _require(
            math.isfinite(self.temperature) and self.temperature >= 0,
            f"temperature must be at least 0, got {self.temperature}",
        )
        _require(0 < self.top_p <= 1, f"top_p must be above 0 and at most 1, got {self.top_p}")
        _require(self.max_tokens >= 1, f"max_tokens must be at least 1, got {self.max_tokens}")
        _require(self.max_prompt_tokens >= 1, f"max_prompt_tokens must be at least 1, got {self.max_prompt_tokens}")
        _require(self.seed >= 0, f"seed must be at least 0, got {self.seed}")
        for what, lengths in (("conflict length", self.conflicts), ("budget", self.budgets), ("cut", self.cuts)):
            _require(all(n >= 1 for n in lengths), f"a {what} must be at least 1 token, got {lengths}")
            _require(len(set(lengths)) == len(lengths), f"a {what} is given twice: {lengths}")
        _require(
            "{n}" in self.conflict_text, f"the conflict text needs {{n}} for the length, got {self.conflict_text!r}"
        )
        for override in self.overrides:
            _require(
                "=" in override, f"{override!r} is not a key=value of verl's (give --model and --data once per item)"
            )

        _require(
            bool(self.budgets) or not self.guidance_overrides,
            f"{', '.join(self.guidance_overrides)}: needs --budget: only then do prompts name a length",
        )

    @property
    def guidance_overrides(self) -> list[str]:
        """The sentence of models whose checkpoints do not note it; it is the evaluation's to show, not verl's."""
        return [override for override in self.overrides if override.startswith(PREFIX)]

    @property
    def verl_overrides(self) -> list[str]:
        """The others."""
        return [override for override in self.overrides if not override.startswith(PREFIX)]

    @property
    def asks_plainly(self) -> bool:
        """Whether problems are asked as they are: with neither budget nor contradicting instruction."""
        return self.self_planned or not self.budgets

    @property
    def verifier(self) -> str:
        """``lapo.verifier`` as the overrides set it."""
        return self._override("lapo.verifier") or "lapo"

    @property
    def prompt(self) -> str | None:
        """``lapo.prompt`` as the overrides set it, for all models alike; None where each is asked as it was trained."""
        return self._override("lapo.prompt")

    def _override(self, key: str) -> str | None:
        values = [value for name, _, value in (o.partition("=") for o in self.overrides) if name.lstrip("+") == key]
        return values[-1] if values else None


def check_name(kind: str, name: str) -> str:
    """A name that fits into file names and tables.

    Raises:
        EvalError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise EvalError(f"{kind} name {name!r}: may hold letters, digits and . _ + - only; give another: NAME=PATH")
    return name


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise EvalError(message)
