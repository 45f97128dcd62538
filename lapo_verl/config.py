"""The node ``lapo:`` as typed values. Every range and every unknown key is checked here, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from lapo_verl.guidance.config import GuidanceConfig, check_choice, is_number
from lapo_verl.objectives import Objective, objective, objective_class, objective_names
from lapo_verl.objectives.fields import nearest
from lapo_verl.verify import Form

ANSWER_FORMS = get_args(Form)
# What names an objective beside its fields.
OBJECTIVE_KEYS = ("lapo.objective.name", "lapo.objective.path")
# LAPO's agent loops, as verl knows them: rollout.agent.default_agent_loop, and a row's agent_name.
SINGLE_TURN_LOOP, TOOL_LOOP = "lapo_single_turn", "lapo_tool_agent"
# {lapo.length.scope: where the reward manager's reward_extra_info has this length}.
LENGTH_FIELDS = {"response": "tokens", "think": "think_tokens", "final_turn": "final_turn_tokens"}
ConfigT = TypeVar("ConfigT")


class ConfigError(ValueError):
    """A value under ``lapo:`` that cannot be used; the message names the key and says what to do."""


@dataclass(frozen=True)
class LengthConfig:
    """What |r_i| counts.

    Attributes:
        scope: ``response`` counts every generated token of all turns, ``think`` in each turn those up to and with
            ``</think>``, ``final_turn`` those of the last turn. None counts a tool's output.
    """

    scope: Literal["response", "think", "final_turn"] = "response"

    def __post_init__(self) -> None:
        check_choice("scope", self.scope, tuple(LENGTH_FIELDS))


@dataclass(frozen=True)
class LapoConfig:
    """The node ``lapo:``. ``hydra_configs/lapo_base.yaml`` says what each key means."""

    objective: Objective
    store: Path = Path("lapo_store.sqlite")
    init_from: Path | None = None
    max_unknown_share: float = 0.5
    verifier: Literal["lapo", "verl", "custom"] = "lapo"
    verify_timeout: float = 3.0
    answer_forms: tuple[Form, ...] = ("boxed",)
    prompt: str = "model"
    prompt_templates: Mapping[str, str | None] = field(default_factory=dict)
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)
    length: LengthConfig = field(default_factory=LengthConfig)

    def __post_init__(self) -> None:
        check_choice("verifier", self.verifier, ("lapo", "verl", "custom"))
        if not is_number(self.verify_timeout) or not self.verify_timeout > 0:
            raise ValueError(f"verify_timeout must be a number of seconds > 0, got {self.verify_timeout!r}")
        for form in self.answer_forms:
            check_choice("answer_forms", form, ANSWER_FORMS)
        if not self.answer_forms:
            raise ValueError(f"answer_forms must name at least one of {', '.join(ANSWER_FORMS)}")
        if not is_number(self.max_unknown_share) or not 0 <= self.max_unknown_share <= 1:
            raise ValueError(f"max_unknown_share must be in [0, 1], got {self.max_unknown_share!r}")
        check_choice("prompt", self.prompt, tuple(self.prompt_templates or ("model",)))

    @classmethod
    def parse(cls, node: DictConfig | Mapping[str, Any]) -> LapoConfig:
        """The values of a composed config's ``lapo:`` node.

        Raises:
            ConfigError: an unknown key or objective (the nearest right one is named), or a value out of range.
        """
        plain_node = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
        if not isinstance(plain_node, Mapping):
            raise ConfigError(f"lapo must be a mapping of keys, got {plain_node!r}")
        values = {str(key): value for key, value in plain_node.items()}
        for message in unknown_keys("lapo", values):
            raise ConfigError(message)
        for key in ("store", "init_from"):
            if values.get(key) is not None:
                values[key] = Path(str(values[key])).expanduser()
        if "answer_forms" in values:
            forms = values["answer_forms"]
            values["answer_forms"] = (forms,) if isinstance(forms, str) else tuple(forms or ())
        values["objective"] = parse_objective(values.get("objective"))
        values["guidance"] = _section("lapo.guidance", GuidanceConfig, values.get("guidance"))
        values["length"] = _section("lapo.length", LengthConfig, values.get("length"))
        return _made("lapo", cls, values)


def parse_objective(node: Any) -> Objective:
    """The objective of the node ``lapo.objective``: its name, the path of a user's own, and its fields.

    Raises:
        ConfigError: it is not named, is not known, or has another field or value than it takes.
    """
    values = {str(key): value for key, value in node.items()} if isinstance(node, Mapping) else {}
    if values.get("name") is None:
        raise ConfigError(
            f"lapo.objective.name is not set: choose one with objective=NAME ({', '.join(objective_names())}), or name "
            "one of your own with lapo.objective.path=pkg://my_package.my_module lapo.objective.name=MyObjective"
        )
    try:
        return objective(**values)
    except ValueError as error:
        raise ConfigError(f"lapo.objective: {error}") from error


def register_objective_node() -> None:
    """Makes the config ``lapo_objective_node`` known to Hydra: a node ``lapo.objective`` that takes any key.

    A config file cannot say so. Which keys an objective takes is known when it is made, see ``parse_objective``.
    """
    node = {"lapo": {"objective": DictConfig({}, flags={"struct": False})}}
    ConfigStore.instance().store(name="lapo_objective_node", node=node, provider="lapo_verl")


@cache
def known_keys() -> tuple[str, ...]:
    """Every key under ``lapo:``, dotted; of ``lapo.objective`` those of the package's objectives."""
    keys = [f"lapo.{item.name}" for item in fields(LapoConfig)]
    keys += [f"lapo.{name}.{item.name}" for name, section in _SECTIONS.items() for item in fields(section)]
    of_objectives = (fields(objective_class(name)) for name in objective_names())
    return (
        *keys,
        *OBJECTIVE_KEYS,
        *dict.fromkeys(f"lapo.objective.{item.name}" for each in of_objectives for item in each),
    )


def unknown_keys(prefix: str, values: Mapping[str, Any]) -> Iterator[str]:
    """One message for each key of ``values``, and of the mappings in it, that is none of LAPO's."""
    for key, value in values.items():
        message = unknown_key(f"{prefix}.{key}")
        if message is not None:
            yield message
        elif isinstance(value, Mapping):
            yield from unknown_keys(f"{prefix}.{key}", value)


def unknown_key(key: str) -> str | None:
    """What to say where the dotted ``key`` is none of LAPO's, with the nearest right one; None where it is.

    The keys of ``lapo.objective`` are its objective's to know, see ``parse_objective``.
    """
    if key.startswith((f"{_TABLE}.", "lapo.objective.")) or key in (known := known_keys()):
        return None
    leaves = [name for name in known if name.rsplit(".", 1)[1] == key.rsplit(".", 1)[1]]
    hint = f"did you mean {leaves[0]}?" if leaves else nearest(key, known)
    return f"unknown key {key}: {hint}"


def check_overrides(arguments: Sequence[str]) -> None:
    """ConfigError where a command line sets a key under ``lapo.`` that does not exist.

    Hydra would only say that the key is not in its struct, and advise to add it.
    """
    for argument in arguments:
        message = unknown_override(argument)
        if message is not None:
            raise ConfigError(message)


def unknown_override(argument: str) -> str | None:
    """What to say where an argument ``key=value`` sets a key under ``lapo.`` that does not exist; else None."""
    name, equals, _ = argument.partition("=")
    key = name.lstrip("+~")
    return unknown_key(key) if equals and key.startswith("lapo.") else None


_SECTIONS: dict[str, type[Any]] = {"guidance": GuidanceConfig, "length": LengthConfig}
# A table whose keys are the user's to add: a name for lapo.prompt, and a chat template.
_TABLE = "lapo.prompt_templates"


def _section(prefix: str, cls: type[ConfigT], values: Any) -> ConfigT:
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(f"{prefix} must be a mapping of keys, got {values!r}")
    return _made(prefix, cls, values or {})


def _made(prefix: str, cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{prefix}.{error}") from error
