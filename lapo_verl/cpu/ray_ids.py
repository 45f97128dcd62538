"""Keeps a process that will be forked from drawing Ray's random ids.

Ray's library seeds its generator at the first id that a process draws, and a fork inherits the seed: all workers would
then draw the same ids, and tasks of two of them could have one. The only ids that an import draws are those of actor
classes (``@ray.remote``). With this module imported, they come from the operating system.
"""

from __future__ import annotations

import os

import ray.actor
from ray import ActorClassID


class SystemActorClassID:
    """What ``ray.actor`` uses of ActorClassID."""

    @staticmethod
    def from_random() -> ActorClassID:
        return ActorClassID(os.urandom(ActorClassID.size()))


ray.actor.ActorClassID = SystemActorClassID
