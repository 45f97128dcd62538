"""One writer at a time: an operating system's lock on a file beside the store.

The kernel drops the lock when its process ends, however it ends, so a dead writer's lock needs no clean-up.
The file stays: removing it would let two writers lock two files of one name. It says who holds the lock.

The lock is only as good as the file system: on local disks it always holds; on NFS it holds between hosts
from Linux 2.6.12 on unless mounted with ``local_lock``; Lustre needs the mount option ``flock``.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import weakref
from pathlib import Path

from lapo_verl.store.errors import StoreError, StoreLockedError, explained


class WriterLock:
    """Held from construction to ``release``.

    Raises:
        StoreLockedError: a live process holds it; the message names its host and pid.
        StoreError: the lock file cannot be written, or the file system has no locks.
    """

    def __init__(self, store_path: Path) -> None:
        path = store_path.with_name(store_path.name + ".lock")
        with explained(store_path):
            # Closed by the garbage collector at the latest, so that a store that was dropped is not held
            # forever.
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            with self._file as file:
                content = file.read()
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise StoreError(
                        f"{store_path}: this file system has no locks ({error.strerror}). "
                        "Put the store on a local disk."
                    ) from error
                raise StoreLockedError(
                    f"{store_path}: {_holder(content)} writes to this store. Wait for it to end or "
                    "stop it; open the store with read_only=True to look into it meanwhile."
                ) from None
        with explained(store_path):
            self._file.truncate(0)
            self._file.write(json.dumps({"host": os.uname().nodename, "pid": os.getpid()}).encode())
        _held.add(self)

    def release(self) -> None:
        """Lets the next writer in; a second call does nothing."""
        _held.discard(self)
        if not self._file.closed:
            # Before a child that was forked a moment ago has come to close its descriptor.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()

    def drop_in_child(self) -> None:
        """Closes a forked child's descriptor, which leaves the lock to the parent alone."""
        self._file.close()


def _holder(content: bytes) -> str:
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} on host {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"  # it has locked the file and not yet written its name


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    # A forked child shares the lock and would hold it after its parent's death.
    for lock in list(_held):
        lock.drop_in_child()
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
