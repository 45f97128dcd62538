"""The length store: what is known about every problem, durable, in one SQLite file.

One writer, many readers. ``LengthStore`` is the interface; ``schema`` defines the file, ``steps`` records, ``lock``
keeps a second writer out, ``snapshot`` makes copies and puts them back, ``problem_id`` names problems without an id.
"""

from lapo_verl.store.errors import StoreDamagedError, StoreError, StoreLockedError
from lapo_verl.store.length_store import LengthStore
from lapo_verl.store.problem_id import problem_id
from lapo_verl.store.records import GroupRecord, Record
from lapo_verl.store.runs import Run
from lapo_verl.store.scope import check_scope

__all__ = [
    "GroupRecord",
    "LengthStore",
    "Record",
    "Run",
    "StoreDamagedError",
    "StoreError",
    "StoreLockedError",
    "check_scope",
    "problem_id",
]
