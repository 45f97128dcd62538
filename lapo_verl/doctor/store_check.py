"""Does this store belong to this run?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.runs.checkpoints import SNAPSHOT, step_of
from lapo_verl.store import LengthStore

# Problems that two stores are compared by.
COMPARED = 50


def checkpoint_store(model_path: str) -> Path | None:
    """The store snapshot of the checkpoint that a model was saved with; None where it comes from none."""
    for folder in Path(model_path).expanduser().absolute().parents:
        if step_of(folder) is not None:
            return folder / SNAPSHOT if (folder / SNAPSHOT).exists() else None
    return None


def other_run(store: LengthStore, snapshot: Path, problems: Collection[str]) -> str | None:
    """What to say where a checkpoint's snapshot recorded another training than the store; else None.

    The store may have gone on, and may lack later runs: what both have seen has to be the same.
    """
    with LengthStore.open(snapshot, read_only=True) as other:
        names = {run.name for run in store.runs()}
        last = {run.name: run.last_step or 0 for run in other.runs() if run.name in names}
        for problem in sorted(other.known(problems))[:COMPARED]:
            first, second = (
                [record for record in each.history(problem) if record.step <= last.get(record.run, -1)]
                for each in (store, other)
            )
            if first != second:
                return (
                    f"the length store is of another run than the weights: {snapshot}, saved with the weights, "
                    f"recorded problem {problem!r} differently. Set lapo.init_from to the store of the run that the "
                    "weights come from"
                )
    return None


def budget_findings(budgets: Collection[float], response_limit: int) -> Iterator[Finding]:
    """Budgets, in tokens, that no response can reach."""
    above = sum(budget > response_limit for budget in budgets)
    if above:
        yield Finding(
            "warning",
            f"{above} of {len(budgets)} budgets ({above / len(budgets):.0%}) are above data.max_response_length="
            f"{response_limit}: such a budget cannot be kept. Raise the limit to Discovery's",
        )
