"""In which ways each problem is asked: plainly, against an instruction of the user's, and under budgets."""

from __future__ import annotations

from dataclasses import dataclass

from lapo_verl.evaluate.models import Model
from lapo_verl.evaluate.settings import EvalError, EvalSettings
from lapo_verl.guidance.sentence import requested_sentence, shown_budget
from lapo_verl.runs.trained_sentence import SentenceError, trained_sentence


@dataclass(frozen=True)
class Condition:
    """One way of asking.

    Attributes:
        name: empty for the plain one, ``conflict=500``, ``budget=40``.
        user_text: put behind the user's last turn.
        prefill: put behind the generation prompt, as training does it.
        budget: tokens that the prompt asks for in the words of the training; None where it does not.
    """

    name: str = ""
    user_text: str = ""
    prefill: str = ""
    budget: float | None = None


def conditions_of(model: Model, settings: EvalSettings) -> list[Condition]:
    """The conditions of a model; each has the sentence of its own training.

    Raises:
        EvalError: budgets are asked for, and the model was trained with no sentence that names one, or it is not known.
    """
    plain = [Condition()] if settings.asks_plainly else []
    conflicts = [Condition(f"conflict={n}", settings.conflict_text.replace("{n}", str(n))) for n in settings.conflicts]
    return [*plain, *conflicts, *_budgets(model, settings)]


def _budgets(model: Model, settings: EvalSettings) -> list[Condition]:
    if not settings.budgets:
        return []
    try:
        # What the command line says is for the models that do not note their own.
        told = settings.guidance_overrides if model.training is None else []
        guidance = trained_sentence(model.training, told).guidance
    except SentenceError as error:
        raise EvalError(f"model {model.name}: {error}") from error
    if guidance is None:
        raise EvalError(
            f"model {model.name}: was trained without a sentence that names a number of tokens, so it cannot be asked "
            "for one; leave --budget out, or evaluate it in a command of its own"
        )
    conditions = []
    for n in settings.budgets:
        sentence = requested_sentence(guidance, n)
        place = {"user_text": sentence} if guidance.place == "outside" else {"prefill": sentence}
        conditions.append(Condition(f"budget={n}", budget=shown_budget(guidance, float(n)), **place))
    return conditions
