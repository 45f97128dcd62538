"""Why a checkpoint cannot be exported."""

from __future__ import annotations


class ExportError(ValueError):
    """A checkpoint that cannot be exported; the message says why, and what to do."""
