"""What a check has to say of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line for the user.

    Attributes:
        level: ``error`` (the run cannot work), ``warning`` (it runs, and hardly as meant) or ``remark``.
        text: what was found, and what to do.
    """

    level: Literal["error", "warning", "remark"]
    text: str

    def __str__(self) -> str:
        return self.text if self.level == "remark" else f"{self.level}: {self.text}"
