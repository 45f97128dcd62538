from pathlib import Path

import pytest

from lapo_verl.method import DiscoveryConfig, InternalizationConfig
from lapo_verl.store import GroupRecord, LengthStore, StoreError, note_scope, note_settings, noted_scope, noted_settings


def test_each_stage_notes_its_own_and_a_copy_keeps_them(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "one.sqlite") as store:
        assert noted_settings(store) == (None, None)
        note_settings(store, DiscoveryConfig(decay=8))
        store.snapshot(tmp_path / "two.sqlite")
    with LengthStore.open(tmp_path / "two.sqlite") as store:
        note_settings(store, InternalizationConfig(sigma=6))
        assert noted_settings(store) == (DiscoveryConfig(decay=8), InternalizationConfig(sigma=6))
        note_settings(store, InternalizationConfig(sigma=9))
        assert noted_settings(store)[1] == InternalizationConfig(sigma=9)


@pytest.mark.parametrize("noted", [{"gamma": 1}, {"sigma": -1}, 7])
def test_a_note_that_is_not_understood_names_the_store(tmp_path: Path, noted: object) -> None:
    path, message = tmp_path / "one.sqlite", r"one\.sqlite: its note settings\.internalization"
    with (
        LengthStore.open(path, meta={"settings.internalization": noted}) as store,
        pytest.raises(StoreError, match=message),
    ):
        noted_settings(store)


def test_lengths_of_two_kinds_do_not_meet_in_a_store(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store.sqlite") as store:
        assert noted_scope(store) is None
        note_scope(store, "think")
        note_scope(store, "response")  # nothing is counted yet
        store.record_step("discovery", 1, [GroupRecord("a", 1, (10,))])
        note_scope(store, "response")
        with pytest.raises(
            StoreError, match=r"store\.sqlite: .*scope=response, this run has lapo\.length\.scope=think"
        ):
            note_scope(store, "think")
        assert noted_scope(store) == "response"
