"""Makes ``lapo_store.sqlite`` and ``content.json`` of this folder: a store of the first schema, and what is in it.

They were made once, by the code of commit 2f8ddeb, and have to stay as they are: a later version has to read them.

    git worktree add ../first 2f8ddeb
    PYTHONPATH=../first python tests/unit/store/first_schema/make_store.py tests/unit/store/first_schema

The training has 6 steps of Discovery and 5 of Internalization on 12 problems, 5 problems a step. ``p0`` is never
solved, ``p1`` only in stage 2, ``p2`` is solved and then unsolved again, ``p11`` is unknown until stage 2.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import asdict
from pathlib import Path

from lapo_verl.method import DiscoveryConfig, InternalizationConfig
from lapo_verl.store import GroupRecord, LengthStore, note_settings

N = 8
PROBLEMS = [f"p{i}" for i in range(12)]


def lengths(rng: random.Random, problem: str, stage: str, step: int) -> tuple[int, ...]:
    """Lengths of the correct rollouts of a visit, in tokens."""
    solved = {"p0": False, "p1": stage == "internalization", "p2": stage == "discovery" and step < 5}
    if not solved.get(problem, True):
        return ()
    return tuple(rng.randrange(200, 4096) for _ in range(rng.randrange(1, N + 1)))


def groups(rng: random.Random, store: LengthStore, stage: str, step: int) -> list[GroupRecord]:
    """The groups of a step; ``p0`` to ``p2`` are in each second one, all others in turn."""
    known = PROBLEMS[3:11] if stage == "discovery" else PROBLEMS[3:]
    chosen = PROBLEMS[:3] if step % 2 else []
    chosen = chosen + rng.sample(known, 5 - len(chosen))
    budgets = store.budgets(chosen)
    return [
        GroupRecord(problem, N, lengths(rng, problem, stage, step), budgets[problem] if stage != "discovery" else None)
        for problem in chosen
    ]


def make(path: Path) -> None:
    rng = random.Random(18)
    with LengthStore.open(path, meta={"tokenizer": "0123456789abcdef"}) as store:
        note_settings(store, DiscoveryConfig(on_unsolved="reset"))
        for step in range(1, 7):
            store.record_step("discovery", step, groups(rng, store, "discovery", step))
        note_settings(store, InternalizationConfig())
        for step in range(1, 6):
            store.record_step("internalization", step, groups(rng, store, "internalization", step))


def content(path: Path) -> dict[str, object]:
    """All that the store answers, as JSON has it."""
    with LengthStore.open(path, read_only=True) as store:
        return {
            "records": [asdict(record) for record in store.records()],
            "budgets": store.budgets(PROBLEMS),
            "totals": store.totals(),
            "meta": store.meta,
        }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    make(folder / "lapo_store.sqlite")
    (folder / "content.json").write_text(json.dumps(content(folder / "lapo_store.sqlite"), indent=1) + "\n")
