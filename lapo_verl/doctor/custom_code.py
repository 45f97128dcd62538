"""Functions and classes of the user's own: verl loads them minutes after the start; here they are loaded before."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from omegaconf import DictConfig, OmegaConf

from lapo_verl.data.rows import read_rows
from lapo_verl.doctor.diagnostic import Finding

# (key of the module, key of the name in it).
NAMED = (
    ("reward.custom_reward_function.path", "reward.custom_reward_function.name"),
    ("reward.reward_manager.module.path", "reward.reward_manager.name"),
    ("data.custom_cls.path", "data.custom_cls.name"),
    ("trainer.v1.sampler.custom_sampler.path", "trainer.v1.sampler.custom_sampler.name"),
)
CALLBACK = "trainer.checkpoint_callback_class"
# LAPO's own hooks are there, and take seconds to import.
OURS = ("pkg://lapo_verl.", "lapo_verl.")
# An answer that every score function can read.
PROBE = r"The answer is \boxed{0}."


def custom_code_findings(config: DictConfig) -> Iterator[Finding]:
    """An error for each module that cannot be loaded, and each name that is not in its module."""
    for path_key, name_key in NAMED:
        path, name = OmegaConf.select(config, path_key), str(OmegaConf.select(config, name_key))
        if path and not str(path).startswith(OURS):
            problem = _problem(str(path), name, path_key, name_key)
            if problem is not None:
                yield Finding("error", problem)
    callback = OmegaConf.select(config, CALLBACK)
    if callback and not str(callback).startswith(OURS):
        module, _, name = str(callback).rpartition(".")
        problem = _problem(f"pkg://{module}", name, CALLBACK, CALLBACK)
        if problem is not None:
            yield Finding("error", problem)


def score_function_findings(files: Iterable[Path]) -> Iterator[Finding]:
    """An error for each data source that verl has no score function for, or whose ground truths it cannot score."""
    from verl.utils.reward_score import default_compute_score

    seen: set[str] = set()
    for path in files:
        for index, row in enumerate(read_rows(path)):
            source = str(row["data_source"])
            if source in seen:
                continue
            seen.add(source)
            truth = row["reward_model"]["ground_truth"]
            try:
                default_compute_score(source, PROBE, truth, row.get("extra_info") or {})
            except NotImplementedError:
                text = f"{path}, row {index}: data_source {source!r}: verl has no score function of that name. Set "
                yield Finding("error", f"{text}lapo.verifier=lapo, or lapo.verifier=custom with a function of your own")
            except Exception as error:  # noqa: BLE001 - verl's functions raise what they like, in training as well
                text = f"{path}, row {index}: verl's score function for data_source {source!r} fails on the ground "
                yield Finding("error", f"{text}truth {truth!r} ({type(error).__name__}: {error}); correct it, or set "
                              "lapo.verifier=lapo")  # fmt: skip


def _problem(path: str, name: str, path_key: str, name_key: str) -> str | None:
    """What is wrong with the object ``name`` of the module ``path``; None where it can be called."""
    from verl.utils.import_utils import load_module

    is_package, file = path.startswith("pkg://"), Path(path.removeprefix("file://"))
    if not is_package and not file.is_file():
        return f"{path_key}={path}: no such file (from {Path.cwd()}); give the path of a Python file"
    try:
        module = load_module(path)
    except Exception as error:  # noqa: BLE001 - a module of the user's own may raise anything
        cause = error.__cause__ or error
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())
        return f"{path_key}={path}: cannot be loaded ({reason}); correct the path or the module"
    if callable(getattr(module, name, None)):
        return None
    return f"{name_key}={name}: {path} has no function or class of that name{_nearest(module, name)}"


def _nearest(module: object, name: str) -> str:
    assert isinstance(module, ModuleType)
    own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    nearest = difflib.get_close_matches(name, own, n=1, cutoff=0.4) or own[:1]
    return f"; did you mean {nearest[0]}?" if nearest else ""
