"""How long trainings still take: a guess until their first step, and from then on the times of their own steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Pace:
    """The parts of one training, in seconds.

    Attributes:
        start: from verl's command to its first step; the starting model is measured in it.
        step: one step of training.
        end: after the last step: the trained model is measured and saved, and verl ends.
    """

    start: float
    step: float
    end: float

    def whole(self, steps: int) -> float:
        """Seconds of a training of so many steps; of none, 0."""
        return self.start + steps * self.step + self.end if steps else 0.0

    def left(self, steps: int, done: int, waited: float) -> float:
        """Seconds left of a training.

        Args:
            steps: of the whole training.
            done: steps that are done.
            waited: seconds since the last one of them was done, or since verl's command.
        """
        if done >= steps:
            return 0.0
        # verl reports a step as done after all that happens around it.
        next_step = self.step + (0 if done else self.start) + (self.end if done == steps - 1 else 0)
        later_steps = (steps - done - 1) * self.step + (self.end if done < steps - 1 else 0)
        return max(0.0, next_step - waited) + later_steps

    def measured(self, until_first_step: float, steps: Sequence[float], whole: float | None = None) -> Pace:
        """The pace of a training that is running or has ended.

        Args:
            until_first_step: seconds from verl's command to the end of the first of these steps.
            steps: seconds of each step so far, at least one.
            whole: seconds from verl's command to its end; None while it is running.
        """
        step = median(steps)
        start = max(0.0, until_first_step - steps[0])
        return Pace(start, step, self.end if whole is None else max(0.0, whole - start - len(steps) * step))


def in_words(seconds: float) -> str:
    """As a person would say it: ``about 6 min``, ``about 40 s``."""
    return f"about {round(seconds / 60)} min" if seconds >= 90 else f"about {max(10, 10 * round(seconds / 10))} s"
