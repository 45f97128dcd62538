"""The settings that a store's rewards and budgets were made with, noted in the store by each stage's training."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lapo_verl.method import DiscoveryConfig, InternalizationConfig
from lapo_verl.store.errors import StoreError
from lapo_verl.store.length_store import LengthStore
from lapo_verl.store.records import STAGES

SCOPE, ROUNDING = "length.scope", "guidance.rounding"


def note_settings(store: LengthStore, config: DiscoveryConfig | InternalizationConfig) -> None:
    """Notes a stage's settings; those of a run that is resumed under others take the place of the first."""
    store.set_meta(_key(type(config)), asdict(config))


def noted_settings(store: LengthStore) -> tuple[DiscoveryConfig | None, InternalizationConfig | None]:
    """The settings of each stage; None where its training noted none.

    Raises:
        StoreError: the settings are none that this version knows.
    """
    return _noted(store, DiscoveryConfig), _noted(store, InternalizationConfig)


def note_scope(store: LengthStore, scope: str) -> None:
    """Notes what a run's lengths count, ``lapo.length.scope``.

    Raises:
        StoreError: see ``check_scope``.
    """
    check_scope(store, scope)
    store.set_meta(SCOPE, scope)


def check_scope(store: LengthStore, scope: str) -> None:
    """Refuses to go on from a store whose lengths count other tokens.

    Raises:
        StoreError: its records were made with another ``lapo.length.scope``.
    """
    noted = noted_scope(store)
    has_records = any(store.last_step(stage) is not None for stage in STAGES)
    if has_records and noted is not None and noted != scope:
        raise StoreError(
            f"{store.path}: its lengths were counted with lapo.length.scope={noted}, this run has "
            f"lapo.length.scope={scope}: budgets and lengths would be of two kinds. Set lapo.length.scope={noted}, or "
            f"run Discovery again with {scope}"
        )


def noted_scope(store: LengthStore) -> str | None:
    """``lapo.length.scope`` of the store's lengths; None where none was noted, as by earlier versions."""
    scope: str | None = store.meta.get(SCOPE)
    return scope


def note_rounding(store: LengthStore, rounding: int) -> None:
    """Notes stage 2's ``lapo.guidance.rounding``, in tokens: how prompts showed budgets."""
    store.set_meta(ROUNDING, rounding)


def noted_rounding(store: LengthStore) -> int | None:
    """``lapo.guidance.rounding`` in tokens; None where none was noted: earlier versions rewarded around M(q) itself."""
    rounding: int | None = store.meta.get(ROUNDING)
    return rounding


def _noted(store: LengthStore, config: type[Any]) -> Any:
    values = store.meta.get(_key(config))
    try:
        return None if values is None else config(**values)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"{store.path}: its note {_key(config)} is not understood ({error}). Was it written by another version?"
        ) from error


def _key(config: type[Any]) -> str:
    return "settings.discovery" if config is DiscoveryConfig else "settings.internalization"
