"""Processes that are forked from a Python with verl imported share nothing that each of them has to have for itself."""

from __future__ import annotations

import subprocess

IDS = """
import threading
from ray._raylet import NodeID, ObjectRef, WorkerID
def draw():
    print(NodeID.from_random().hex(), WorkerID.from_random().hex(), ObjectRef.from_random().hex())
draw()
for _ in range(2):
    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
"""


def test_processes_draw_different_ids_of_ray(warm: str) -> None:
    """Two workers with the same ids send tasks with one id: "Check failed: erased == 1" ends the one that has both."""
    outputs = [subprocess.run([warm, "-c", IDS], capture_output=True, text=True).stdout.split() for _ in range(3)]
    assert [len(ids) for ids in outputs] == [9, 9, 9]
    assert len({drawn for ids in outputs for drawn in ids}) == 27
