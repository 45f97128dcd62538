"""LASER-DE: LASER-D, with the same bonus for a wrong answer that is long: keep exploring where it fails.

    reward   r_i = 1 + weight * [L_i <= T(level)] if correct
             r_i = wrong + weight * [L_i > T(level)] if wrong and not cut off at the response limit, else `wrong`
    level, memory: as in `laser_d`

Source: arXiv 2505.15612; code hkust-nlp/Laser c9e7c4e. Departs: the code asks for a text that does not repeat itself (a
4-gram three times, which ordinary long reasoning fulfils, so it rarely gives the bonus). An objective sees no texts: a
response that was cut off counts as repeating. Otherwise as `laser_d`, whose fields, degenerate cases and departures it
has. A level without a limit T: no wrong rollout gets the bonus. At the defaults a wrong rollout earns at most 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from lapo_verl.objectives.base import Floats, Groups, Memory, means
from lapo_verl.objectives.laser_d import LaserD


@dataclass(frozen=True)
class LaserDe(LaserD):
    """Correct and below the length of its level, or wrong and above.

    >>> groups = Groups.of(correct=[[True, True, False, False]], lengths=[[300, 9000, 400, 9000]])
    >>> LaserDe().rewards(groups).tolist()
    [[1.5, 1.0, -0.5, 0.0]]
    """

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """LASER-D's, and the bonus of the wrong ones."""
        exploring = ~groups.correct & ~groups.truncated & (groups.lengths > self.limits(groups, memory))
        return super().rewards(groups, memory) + self.weight * exploring

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """LASER-D's, and what the bonus adds to a wrong rollout."""
        wrong = rewards[groups.valid & ~groups.correct] - self.wrong
        return super().metrics(groups, rewards, memory) | means(exploration_reward=wrong)
