"""What can go wrong with a store, each error with the file's name and what to do about it."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StoreError(RuntimeError):
    """A length store cannot do what it was asked; the message names the file and says what to do."""


class StoreLockedError(StoreError):
    """Another live process writes to the store."""


class StoreDamagedError(StoreError):
    """The file is no length store, is damaged, lacks its latest steps, or was written by a newer version."""


KEPT = "The last committed step is still there."
RESTORE = "Restore it from a checkpoint's snapshot (LengthStore.restore), or move it away to start anew."


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns errors of SQLite and of the file system into a StoreError about ``path``."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain_sqlite(path, error) from error
    except OSError as error:
        raise _explain_os(path, error) from error


def _explain_sqlite(path: Path, error: sqlite3.Error) -> StoreError:
    # By message, since Python 3.10 does not give SQLite's error code.
    text = str(error)
    said = text.lower()
    if "disk is full" in said:
        return _full(path, text)
    if "readonly" in said or "unable to open" in said:
        return _no_access(path, text)
    if "locked" in said or "busy" in said:
        return StoreLockedError(
            f"{path}: another program holds the file ({text}). Close that program (an sqlite3 shell, for instance)."
        )
    if "closed" in said:
        return StoreError(f"{path}: the store is closed. Open it again with LengthStore.open.")
    if "i/o error" in said:
        return StoreError(
            f"{path}: the disk did not read or write ({text}). Look for a quota, a file size limit "
            f"or a broken disk, then run again. {KEPT}"
        )
    return StoreDamagedError(f"{path}: not a length store, or damaged ({text}). {RESTORE}")


def _explain_os(path: Path, error: OSError) -> StoreError:
    text = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(path, text)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return _no_access(path, text)
    return StoreError(f"{path}: {text}. Check the file's disk, then run again.")


def _full(path: Path, text: str) -> StoreError:
    return StoreError(f"{path}: the disk is full ({text}). Free space on it, then run again. {KEPT}")


def _no_access(path: Path, text: str) -> StoreError:
    return StoreError(
        f"{path}: cannot be opened or written ({text}). Its folder must exist and be writable, also for a "
        "reader (SQLite puts its -wal and -shm files beside it); choose another place or change the permissions."
    )
