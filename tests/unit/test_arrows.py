"""The rooms of the house, and who may import whom: read from the source, imports inside functions included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from lapo_verl.objectives import objective_names

HOUSE = Path(__file__).parents[2] / "lapo_verl"
# From the top down. A room imports the rooms of the layers below its own.
LAYERS = (
    {"cli", "plugin"},
    {"doctor", "evaluate", "replay", "report", "export"},
    {"hooks", "runs", "data"},
    {"guidance", "store", "verify", "config"},
    {"objectives"},
)
# And of its own layer these alone.
BESIDE = {
    *(("hooks", "runs"), ("hooks", "data"), ("config", "guidance"), ("config", "verify")),
    # An export checks the tokenizer as the doctor does, and that an evaluation is of the exported model.
    *(("export", "doctor"), ("export", "evaluate")),
}
# Any room may import them, and they import no room.
UTILITIES = {"console", "files", "markdown", "paths", "hub", "cpu"}
# Rooms that can be imported without what follows.
LIGHT = {"guidance", "store", "verify", "config", "objectives", "runs", "data", "replay", "report", "export"}
HEAVY = {"verl", "torch", "tensordict", "transfer_queue", "vllm", "ray"}
# Of the objectives' names these are words as well, of metrics for instance: they may be written, and not be compared.
WORDS = {"accuracy", "truncation"}
# In a store of the first schema a run is one of two numbered stages: this file gives them their names.
OF_THE_FIRST_SCHEMA = HOUSE / "store" / "first_schema.py"

Arrow = tuple[str, str]
FILES = sorted(HOUSE.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(HOUSE.parent)}:{getattr(node, 'lineno', 1)}"


def imported(path: Path, nodes: Iterator[ast.AST]) -> Iterator[tuple[ast.AST, str]]:
    """The dotted modules that ``nodes`` import; of ``from a import b``, a.b, for b may be a module."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{where(path, node)}: imports are written in full"
            yield from ((node, f"{node.module}.{name.name}") for name in node.names)


def when_imported(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: no function's body, and nothing that is for the type checker alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from when_imported(child)


def arrows() -> Iterator[tuple[Arrow, str]]:
    """((room, room that it imports), where), of every import of another room."""
    for path in FILES:
        for node, module in imported(path, ast.walk(tree(path))):
            package, _, rest = module.partition(".")
            other, room = rest.partition(".")[0], room_of(path)
            if package == "lapo_verl" and other not in (room, "__version__"):
                yield (room, other), where(path, node)


def is_downwards(room: str, other: str) -> bool:
    if other in UTILITIES:
        return True
    if room in UTILITIES:
        return False
    above = [rooms for rooms in LAYERS if room in rooms]
    below = set.union(set(), *LAYERS[LAYERS.index(above[0]) + 1 :]) if above else set()
    return other in below or (room, other) in BESIDE


def test_every_room_has_its_place() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms - UTILITIES - set.union(*LAYERS) == set()


def test_arrows_point_downwards_only() -> None:
    places = list(arrows())
    assert len(places) > 100, "imports are found at all"
    assert [f"{place}: {room} -> {other}" for (room, other), place in places if not is_downwards(room, other)] == []


@pytest.mark.parametrize(
    ("room", "other"), [("store", "objectives"), ("cli", "store"), ("hooks", "data"), ("verify", "files")]
)
def test_an_arrow_downwards(room: str, other: str) -> None:
    assert is_downwards(room, other)
    assert not is_downwards(other, room)


def test_the_store_imports_the_interface_of_the_objectives_and_no_objective() -> None:
    allowed = "lapo_verl.objectives"
    for path in (HOUSE / "store").glob("*.py"):
        for node in ast.walk(tree(path)):
            modules = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [module for module in modules if module.startswith(f"{allowed}.")], where(path, node)
            names = [name.name for name in node.names] if isinstance(node, ast.ImportFrom | ast.Import) else []
            assert not (allowed in modules and set(names) & set(objective_names())), where(path, node)


@cache
def loads(path: Path) -> frozenset[str]:
    """What importing a file of the house imports from outside of it, its own package's ``__init__`` included."""
    found, seen, waiting = set(), {path}, [path]
    while waiting:
        current = waiting.pop()
        for _, module in imported(current, when_imported(tree(current))):
            if module.partition(".")[0] != "lapo_verl":
                found.add(module.partition(".")[0])
                continue
            parts = module.split(".")[1:]
            for n in range(len(parts) + 1):
                place = HOUSE.joinpath(*parts[:n])
                for file in (place.with_suffix(".py"), place / "__init__.py"):
                    if file.is_file() and file not in seen:
                        seen.add(file)
                        waiting.append(file)
    return frozenset(found)


@pytest.mark.parametrize("room", sorted(LIGHT))
def test_rooms_without_verl_and_torch(room: str) -> None:
    heavy = {str(path.relative_to(HOUSE)): loads(path) & HEAVY for path in FILES if room_of(path) == room}
    assert {path: names for path, names in heavy.items() if names} == {}


def test_what_a_file_loads_is_found_through_the_house() -> None:
    assert {"torch", "verl"} <= loads(HOUSE / "hooks" / "replay_buffer.py")
    assert "omegaconf" in loads(HOUSE / "hooks" / "reward_manager.py")


def words_of_the_code(path: Path) -> Iterator[ast.Constant]:
    """Strings of the code that are no docstrings."""
    docstrings = {
        id(node.value)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def compared(path: Path) -> Iterator[ast.Constant]:
    """Constants in comparisons and in the patterns of a match."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Compare | ast.match_case):
            inner = node if isinstance(node, ast.Compare) else node.pattern
            yield from (child for child in ast.walk(inner) if isinstance(child, ast.Constant))


def test_no_file_but_the_objectives_asks_which_objective_it_serves() -> None:
    names = set(objective_names())
    found = []
    for path in FILES:
        if room_of(path) != "objectives" and path != OF_THE_FIRST_SCHEMA:
            found += [(path, node) for node in words_of_the_code(path) if node.value in names - WORDS]
            found += [(path, node) for node in compared(path) if node.value in names & WORDS]
    assert [f"{where(path, node)}: {node.value!r}" for path, node in found] == []


def test_a_comparison_with_a_name_is_found(tmp_path: Path) -> None:
    path = tmp_path / "file.py"
    path.write_text('"""kimi"""\nif x.name in ("kimi", "hapo"):\n    y = f(objective("laser"))\n')
    assert {node.value for node in words_of_the_code(path)} == {"kimi", "hapo", "laser"}
    assert {node.value for node in compared(path)} == {"kimi", "hapo"}
