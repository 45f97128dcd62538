"""The length store: what is known of every problem, durable, in one SQLite file.

One writer, many readers. ``LengthStore`` is the door; ``schema`` says what the file holds, ``lock`` keeps the
second writer out, ``snapshot`` makes copies and puts them back, ``problem_id`` names problems without one,
``noted_settings`` keeps what the rewards were made with.
"""

from lapo_verl.store.errors import StoreDamagedError, StoreError, StoreLockedError
from lapo_verl.store.length_store import LengthStore
from lapo_verl.store.noted_settings import (
    check_scope,
    note_rounding,
    note_scope,
    note_settings,
    noted_rounding,
    noted_scope,
    noted_settings,
)
from lapo_verl.store.problem_id import problem_id
from lapo_verl.store.records import GroupRecord, Record

__all__ = [
    "GroupRecord",
    "LengthStore",
    "Record",
    "StoreDamagedError",
    "StoreError",
    "StoreLockedError",
    "check_scope",
    "note_rounding",
    "note_scope",
    "note_settings",
    "noted_rounding",
    "noted_scope",
    "noted_settings",
    "problem_id",
]
