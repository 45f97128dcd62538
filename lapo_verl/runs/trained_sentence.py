"""The sentence that a model was trained with: as its checkpoint notes it, or as a command line says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import OmegaConf

from lapo_verl.config import ConfigError, check_overrides
from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.guidance.sentence import shown_budget
from lapo_verl.runs.training_note import FILE, TrainingNote

PREFIX = "lapo.guidance."


class SentenceError(ValueError):
    """It is not known with which sentence a model was trained; the message says how to tell."""


@dataclass(frozen=True)
class TrainedSentence:
    """What a model knows of budgets.

    Attributes:
        guidance: its sentence; None where it was trained with none that names a number of tokens.
        why: where that is known from.
    """

    guidance: GuidanceConfig | None
    why: str


def trained_sentence(note: TrainingNote | None, overrides: Sequence[str]) -> TrainedSentence:
    """The sentence of a model's training.

    Args:
        note: of its checkpoint.
        overrides: ``lapo.guidance.KEY=VALUE``.

    Raises:
        SentenceError: neither says it, or both do; an argument is none of ``lapo.guidance``, or out of range.
    """
    given = _given(overrides)
    if note is not None and given is not None:
        raise SentenceError(f"{overrides[0]}: the checkpoint notes its sentence in {FILE}; leave the argument out")
    if note is None and given is None:
        raise SentenceError(
            f"there is no {FILE} of a training beside the weights, so the sentence that it was trained with is not "
            "known. Give it: lapo.guidance.form=exact for the paper's, lapo.guidance.text=... for one of your own, "
            "lapo.guidance.form=implicit for none"
        )
    guidance = given if note is None else note.guidance
    if guidance is not None and shown_budget(guidance, 1.0) is None:
        guidance = None
    return TrainedSentence(guidance, "as given" if note is None else f"as noted in {FILE}")


def _given(overrides: Sequence[str]) -> GuidanceConfig | None:
    if not overrides:
        return None
    for override in overrides:
        if not override.startswith(PREFIX) or "=" not in override:
            raise SentenceError(f"{override!r}: only the sentence can be given here, as {PREFIX}KEY=VALUE")
    try:
        check_overrides(overrides)
        values = OmegaConf.to_container(OmegaConf.from_dotlist([each.removeprefix(PREFIX) for each in overrides]))
        return GuidanceConfig(**values)  # type: ignore[arg-type]
    except ConfigError as error:
        raise SentenceError(str(error)) from error
    except (ValueError, TypeError) as error:
        raise SentenceError(f"{PREFIX}{error}") from error
