"""A store has lengths of one kind: of whole responses, or of their thinking."""

from __future__ import annotations

from lapo_verl.store.errors import StoreError
from lapo_verl.store.length_store import LengthStore


def check_scope(store: LengthStore, scope: str) -> None:
    """Refuses to go on from a store whose lengths count other tokens.

    Raises:
        StoreError: a run with records was made with another ``lapo.length.scope``.
    """
    for run in store.runs():
        noted = run.settings.get("length_scope", scope)
        if run.steps and noted != scope:
            raise StoreError(
                f"{store.path}: its lengths were counted with lapo.length.scope={noted} in the run {run.name}, this "
                f"run has lapo.length.scope={scope}: targets and lengths would count different tokens. Set "
                f"lapo.length.scope={noted}, or train {run.name} again with {scope}"
            )
