"""Budgets count tokens: a store that another tokenizer made is used with a warning."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lapo_verl.hooks.tokenizer_check import check_tokenizer
from lapo_verl.store import LengthStore
from toy.tokenizer import build_tokenizer


def test_another_tokenizer_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(first)
    tokenizer.add_tokens(["hm"])
    tokenizer.save_pretrained(second)
    with LengthStore.open(tmp_path / "store.sqlite") as store, caplog.at_level(logging.WARNING):
        check_tokenizer(store, str(first))
        check_tokenizer(store, str(first))
        assert "another tokenizer" not in caplog.text
        check_tokenizer(store, str(second))
        assert "another tokenizer" in caplog.text
        assert str(second) in caplog.text
