"""The sentence that tells the model its budget (section on Internalization; Table 2)."""

from __future__ import annotations

import math
import string

FORMS = ("exact", "range", "implicit")
DEFAULT_TEXTS = {
    "exact": " I will answer the question with {budget} tokens.",
    "range": " I will answer the question with {low} to {high} tokens.",
    "implicit": "",
}


def guidance_text(
    form: str,
    budget: float | None = None,
    low: float | None = None,
    high: float | None = None,
    text: str | None = None,
    rounding: int = 1,
) -> str:
    """The guidance sentence of one prompt, with the space that joins it to ``<think>``.

    Args:
        form: ``exact`` names the budget, ``range`` the band, ``implicit`` says nothing (Table 2).
        budget: in tokens; must be given where the text names it.
        low: the band's lower end in tokens; likewise.
        high: its upper end in tokens; likewise.
        text: a template with {budget}, {low} or {high} in place of the form's own.
        rounding: budgets are shown as whole multiples of this many tokens, at least one multiple.

    Raises:
        ValueError: unknown form or placeholder, a number that the text needs is missing, rounding < 1.

    >>> guidance_text("exact", budget=512.0)
    ' I will answer the question with 512 tokens.'
    """
    check_text(form, text, rounding)
    if form == "implicit":
        return ""
    template = DEFAULT_TEXTS[form] if text is None else text
    known = {"budget": budget, "low": low, "high": high}
    shown: dict[str, int] = {}
    for name in _placeholders(template):
        value = known[name]
        if value is None or not math.isfinite(value) or value < 0:
            raise ValueError(f"guidance text {template!r} needs {name} in tokens, got {value}")
        shown[name] = shown_tokens(value, rounding)
    return template.format(**shown)


def shown_tokens(tokens: float, rounding: int = 1) -> int:
    """``tokens`` as a prompt shows them: a whole multiple of ``rounding``, at least one.

    Half a multiple rounds up: numpy's and Python's round-half-to-even would show 62 for 62.5 and 64 for 63.5.

    >>> shown_tokens(62.5), shown_tokens(12, rounding=100)
    (63, 100)
    """
    return max(1, math.floor(tokens / rounding + 0.5)) * rounding


def shown_names(form: str, text: str | None = None) -> set[str]:
    """Which of budget, low and high the sentence shows."""
    return set() if form == "implicit" else _placeholders(DEFAULT_TEXTS[form] if text is None else text)


def check_text(form: str, text: str | None, rounding: int = 1) -> None:
    """ValueError naming the field where a guidance setting cannot be used."""
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    if isinstance(rounding, bool) or not isinstance(rounding, int) or rounding < 1:
        raise ValueError(f"rounding must be a whole number of tokens >= 1, got {rounding!r}")
    if text is None:
        return
    try:
        names = _placeholders(text)
    except ValueError as error:
        raise ValueError(f"text is not a template with {{budget}}, {{low}}, {{high}}: {text!r} ({error})") from error
    unknown = names - {"budget", "low", "high"}
    if unknown:
        raise ValueError(f"text may name {{budget}}, {{low}} and {{high}}, got {sorted(unknown)} in {text!r}")


def _placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
