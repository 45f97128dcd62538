"""Lengths are counted in tokens, so a store belongs to a tokenizer."""

from __future__ import annotations

import hashlib
import json
import logging

from verl.utils import hf_tokenizer
from verl.utils.fs import copy_to_local

from lapo_verl.store import LengthStore

META_KEY = "tokenizer"
logger = logging.getLogger(__name__)


def tokenizer_fingerprint(path: str) -> str:
    """A hash of the vocabulary of the tokenizer at ``path`` (a folder or a model's name)."""
    vocabulary = hf_tokenizer(copy_to_local(path), trust_remote_code=True).get_vocab()
    return hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode()).hexdigest()[:16]


def check_tokenizer(store: LengthStore, path: str) -> None:
    """Note the tokenizer in a new store; warn where a store was made with another one."""
    fingerprint = tokenizer_fingerprint(path)
    known = store.meta.get(META_KEY)
    if known is None:
        store.set_meta(META_KEY, fingerprint)
    elif known != fingerprint:
        logger.warning(
            "lapo: the length store was made with another tokenizer (%s) than %s (%s): its budgets count other tokens; "
            "run Discovery again with this model if the two differ much",
            known,
            path,
            fingerprint,
        )
