from __future__ import annotations

import copy
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from omegaconf import OmegaConf

# verl chooses its platform once, when it is imported.
os.environ["VERL_PLATFORM"] = "cpu"

if TYPE_CHECKING:
    from step_queue import Buffers, Queue


@pytest.fixture(scope="session", autouse=True)
def commands_are_warm(warm: str) -> None:
    """Commands that import verl and train nothing start with it imported: ``os.environ[WARM_PYTHON]``."""


@pytest.fixture(scope="session", autouse=True)
def yaml_files_read_once() -> Iterator[None]:
    """A config of verl's is composed of forty YAML files, and to parse them is half of the time that it takes."""
    load, contents = OmegaConf.load, {}

    def load_once(file: Any) -> Any:
        if isinstance(file, str | Path):
            return load(file)
        text = file.read()
        if text not in contents:
            contents[text] = load(io.StringIO(text))
        return copy.deepcopy(contents[text])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(OmegaConf, "load", load_once)
        yield


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    """verl's queue of rollouts, in the place of TransferQueue."""
    import transfer_queue as tq
    from step_queue import Queue

    made = Queue()
    for name in ("kv_list", "kv_batch_get", "kv_batch_put", "kv_clear"):
        monkeypatch.setattr(tq, name, getattr(made, name))
    return made


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder without weights."""
    from tiny_models import R1_DISTILL_QWEN

    return R1_DISTILL_QWEN.save(tmp_path_factory.mktemp("tokenizer"), weights=False)


@pytest.fixture
def buffers(tmp_path: Path, tokenizer_folder: Path) -> Iterator[Buffers]:
    """Makes replay buffers of one run, whose folder is ``tmp_path``."""
    from step_queue import Buffers

    made = Buffers(tmp_path, tokenizer_folder)
    yield made
    for buffer in made.made:
        buffer.store.close()
