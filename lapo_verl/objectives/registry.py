"""From a name in the config to an objective: one of this package, or a class of the user's own module."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import os
import pkgutil
from types import ModuleType
from typing import Any

from lapo_verl.objectives.base import Objective
from lapo_verl.objectives.fields import nearest

# Every other file of this folder is an objective; its name is the file's.
NOT_OBJECTIVES = frozenset({"base", "checked", "fields", "groups", "lengths", "metrics", "registry", "signal"})
RESERVED_FIELDS = ("name", "path")


def objective_names() -> list[str]:
    """The objectives of this package, sorted.

    >>> "discovery" in objective_names()
    True
    """
    return list(_names())


@functools.cache
def _names() -> tuple[str, ...]:
    """Lists the folder once: the check of a config asks for each of its keys."""
    modules = pkgutil.iter_modules([os.path.dirname(__file__)])
    return tuple(sorted(module.name for module in modules if module.name not in NOT_OBJECTIVES))


def objective(name: str, path: str | None = None, **fields: Any) -> Objective:
    """The objective of a name, with its fields' defaults where ``fields`` does not say otherwise.

    Args:
        name: one of ``objective_names()``; with ``path``, the class's name.
        path: ``pkg://my_package.my_module``, the module of a user's own objective.
        fields: the objective's configuration.

    Raises:
        ValueError: an unknown name, module, class or field, or a value out of range; the message is one line that
            names it, and the nearest right one where there is one.

    >>> objective("discovery", alpha=0.3).config()["alpha"]
    0.3
    >>> objective("discovery", alhpa=0.3)
    Traceback (most recent call last):
    ValueError: objective discovery has no field 'alhpa': did you mean alpha?
    """
    cls = objective_class(name, path)
    known = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in fields:
        if key not in known:
            raise ValueError(f"objective {name} has no field {key!r}: {nearest(key, known)}")
    for key, field in known.items():
        if key not in fields and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"objective {name} needs a value for its field {key!r}")
    try:
        return cls(**fields)
    except ValueError as error:
        raise ValueError(f"objective {name}: {error}") from error


def default_objective() -> Objective:
    """Discovery: for rollouts that were recorded without a note of their objective."""
    return objective("discovery")


def objective_class(name: str, path: str | None = None) -> type[Objective]:
    """The class that ``objective`` makes an instance of.

    Raises:
        ValueError: as for ``objective``.
    """
    if path is None:
        if name not in objective_names():
            raise ValueError(f"unknown objective {name!r}: {nearest(name, objective_names())}")
        (cls,) = _classes(importlib.import_module(f"{__package__}.{name}"))
        return cls
    found = getattr(module := _module(path), name, None)
    if found is None:
        names = [cls.__name__ for cls in _classes(module)]
        raise ValueError(f"module {module.__name__} has no objective {name!r}: {nearest(name, names)}")
    _check_class(found, f"{module.__name__}.{name}")
    return found  # type: ignore[no-any-return]


def _module(path: str) -> ModuleType:
    scheme, _, name = path.partition("://")
    if scheme != "pkg" or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"path of an objective must be pkg://my_package.my_module, got {path!r}")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"the module of {path} cannot be imported: {error}") from error


def _classes(module: ModuleType) -> list[type[Objective]]:
    """The objectives that a module defines itself."""
    classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if issubclass(cls, Objective)]
    return [cls for cls in classes if cls.__module__ == module.__name__]


def _check_class(found: Any, where: str) -> None:
    if not (inspect.isclass(found) and issubclass(found, Objective)):
        raise ValueError(f"{where} is not a subclass of lapo_verl.objectives.Objective")
    if "__dataclass_params__" not in vars(found):
        raise ValueError(f"{where} is not a dataclass: put @dataclass(frozen=True) above it")
    if inspect.isabstract(found):
        raise ValueError(f"{where} does not define {', '.join(sorted(found.__abstractmethods__))}")
    for field in dataclasses.fields(found):
        if field.name in RESERVED_FIELDS:
            raise ValueError(f"{where} has a field {field.name!r}, which names the objective itself: rename the field")
