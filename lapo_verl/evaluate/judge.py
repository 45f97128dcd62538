"""Kept responses under another verifier than today's are judged again: their text and ground truth are kept as well."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lapo_verl.evaluate.settings import EvalSettings
from lapo_verl.files import write_whole
from lapo_verl.paths import hydra_configs
from lapo_verl.verify import REVISION, Form, verify

# Verdicts that are asked for at the same time; the verifier's process pool is the limit.
_THREADS = 8


@dataclass(frozen=True)
class Judge:
    """LAPO's verifier as an evaluation sets it; ``revision`` is None where another one judges."""

    forms: tuple[Form, ...]
    timeout_s: float
    revision: int | None

    @staticmethod
    def of(settings: EvalSettings) -> Judge:
        """The verifier's keys of lapo_base.yaml, with the overrides."""
        defaults = OmegaConf.load(hydra_configs() / "lapo_base.yaml").lapo
        given = [override.lstrip("+") for override in settings.overrides if override.lstrip("+").startswith("lapo.")]
        changes = OmegaConf.from_dotlist(given).get("lapo", {})
        forms = tuple(changes.get("answer_forms", defaults.answer_forms))
        timeout_s = float(changes.get("verify_timeout", defaults.verify_timeout))
        return Judge(forms, timeout_s, REVISION if settings.verifier == "lapo" else None)

    def judge_again(self, samples: Path) -> int:
        """Bring the verdicts of a file of samples up to date; returns how many there are, 0 where nothing was to do.

        Only LAPO's verifier has a revision: verdicts of others stay. A file has verdicts of one revision.
        """
        with samples.open(encoding="utf-8", newline="\n") as lines:
            if self.revision is None or json.loads(lines.readline()).get("verifier") == self.revision:
                return 0
            lines.seek(0)
            rows = [json.loads(line) for line in lines]
        with ThreadPoolExecutor(_THREADS) as threads:
            for row, correct in zip(rows, threads.map(self._is_correct, rows), strict=True):
                row["acc"], row["verifier"] = float(correct), self.revision
        write_whole(samples, as_lines(rows))
        return len(rows)

    def _is_correct(self, row: dict[str, Any]) -> bool:
        truth = str(row["ground_truth"])
        return verify(row["response"], truth, timeout_s=self.timeout_s, forms=self.forms).correct


def as_lines(rows: Iterable[dict[str, Any]]) -> str:
    """JSONL, a row a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)
