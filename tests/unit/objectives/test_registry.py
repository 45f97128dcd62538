from pathlib import Path
from typing import Any

import pytest

from lapo_verl.objectives import Groups, Objective, objective, objective_class, objective_names

OWN = """
from dataclasses import dataclass
from typing import Annotated
from lapo_verl.objectives import Groups, Objective, Range

@dataclass(frozen=True)
class Flat(Objective):
    bonus: Annotated[float, Range(at_least=0, below=1)]
    rounds: int = 3
    note: str | None = None

    def rewards(self, groups, memory=None):
        return groups.masked(groups.correct + self.bonus)

class Undecorated(Flat):
    extra: float = 1.0

@dataclass(frozen=True)
class Abstract(Objective):
    pass

@dataclass(frozen=True)
class Named(Flat):
    name: str = "mine"

@dataclass(frozen=True)
class Listed(Flat):
    sizes: tuple = ()

def function():
    pass
"""
PATH = "pkg://lapo_own.reward"


@pytest.fixture(autouse=True)
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lapo_own"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "reward.py").write_text(OWN)
    (package / "broken.py").write_text("import a_module_that_nobody_has")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_names_are_the_files() -> None:
    names = objective_names()
    assert {"accuracy", "discovery", "internalization"} <= set(names)
    assert names == sorted(names) and not {"base", "groups", "lengths", "registry"} & set(names)


def test_the_papers_values_are_the_defaults() -> None:
    assert objective("discovery").config() == {
        "name": "discovery", "alpha": 0.7, "low": 30, "high": 70, "decay": 100,
        "statistic": "median", "on_unsolved": "reset", "degenerate_band": "in_range",
    }  # fmt: skip
    assert objective("internalization").config() == {
        "name": "internalization", "beta": 0.7, "sigma": 120, "statistic": "median",
    }  # fmt: skip


def test_a_users_own_class_comes_back_from_its_config() -> None:
    own = objective("Flat", PATH, bonus=0.5, note="x")
    groups = Groups.of(correct=[[True, False]], lengths=[[1, 2]])
    assert own.rewards(groups).tolist() == [[1.5, 0.5]]
    assert own.config() == {"name": "Flat", "path": PATH, "bonus": 0.5, "rounds": 3, "note": "x"}
    assert objective(**own.config()) == own
    assert (own.keeps_targets, own.keeps_memory, own.names_budget) == (False, False, False)


@pytest.mark.parametrize(
    ("name", "path", "fields", "message"),
    [
        ("discvery", None, {}, "unknown objective 'discvery': did you mean discovery?"),
        ("Discovery", None, {}, "unknown objective 'Discovery': did you mean discovery?"),
        ("base", None, {}, "unknown objective 'base'"),
        (None, None, {}, "unknown objective None"),
        ("discovery", None, {"alhpa": 1}, "objective discovery has no field 'alhpa': did you mean alpha?"),
        ("accuracy", None, {"weight": 1}, "objective accuracy has no field 'weight': there are none"),
        ("discovery", None, {"alpha": -1}, "objective discovery: alpha must be >= 0, got -1"),
        ("discovery", None, {"alpha": True}, "objective discovery: alpha must be a finite number, got True"),
        ("discovery", None, {"alpha": "a lot"}, "objective discovery: alpha must be a finite number, got 'a lot'"),
        ("discovery", None, {"alpha": None}, "objective discovery: alpha must be a finite number, got None"),
        ("discovery", None, {"alpha": float("nan")}, "objective discovery: alpha must be a finite number, got nan"),
        ("discovery", None, {"decay": 0}, "objective discovery: decay must be > 0, got 0"),
        ("discovery", None, {"low": 80}, "objective discovery: low must not be above high, got low=80, high=70"),
        ("discovery", None, {"high": 101}, "objective discovery: high must be >= 0 and <= 100, got 101"),
        (
            "discovery", None, {"statistic": "mode"},
            "objective discovery: statistic must be one of median, mean, minimum, got 'mode'",
        ),
        ("internalization", None, {"sigma": 0}, "objective internalization: sigma must be > 0, got 0"),
        ("Flat", PATH, {}, "objective Flat needs a value for its field 'bonus'"),
        ("Flat", PATH, {"bonus": 1.0}, "objective Flat: bonus must be >= 0 and < 1, got 1.0"),
        ("Flat", PATH, {"bonus": 0, "rounds": 1.5}, "objective Flat: rounds must be a whole number, got 1.5"),
        ("Flat", PATH, {"bonus": 0, "note": 3}, "objective Flat: note must be a text, got 3"),
        ("Flatt", PATH, {}, "module lapo_own.reward has no objective 'Flatt': did you mean Flat?"),
        ("Objective", PATH, {}, "lapo_own.reward.Objective does not define rewards"),
        ("function", PATH, {}, "lapo_own.reward.function is not a subclass of lapo_verl.objectives.Objective"),
        ("Undecorated", PATH, {}, "lapo_own.reward.Undecorated is not a dataclass: put @dataclass"),
        ("Abstract", PATH, {}, "lapo_own.reward.Abstract does not define rewards"),
        ("Named", PATH, {}, "lapo_own.reward.Named has a field 'name', which names the objective itself"),
        ("Listed", PATH, {"bonus": 0}, "objective Listed: sizes has the type <class 'tuple'>: a field is"),
        ("Flat", "pkg://lapo_own.rewards", {}, "the module of pkg://lapo_own.rewards cannot be imported: No module"),
        ("Flat", "pkg://lapo_own.broken", {}, "cannot be imported: No module named 'a_module_that_nobody_has'"),
        ("Flat", "lapo_own.reward", {}, "path of an objective must be pkg://my_package.my_module, got 'lapo_own.rew"),
        ("Flat", "pkg://.reward", {}, "path of an objective must be pkg://my_package.my_module, got 'pkg://.reward'"),
        ("Flat", "/home/me/reward.py", {}, "path of an objective must be pkg://my_package.my_module, got '/home/me/r"),
        ("Flat", "pkg://", {}, "path of an objective must be pkg://my_package.my_module, got 'pkg://'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_it(name: Any, path: str | None, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        objective(name, path, **fields)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_the_class_is_there_without_an_instance() -> None:
    assert issubclass(objective_class("discovery"), Objective)
    assert objective_class("Flat", PATH).__name__ == "Flat"
