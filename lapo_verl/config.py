"""The config node ``lapo:`` as typed, checked values. Knows neither verl nor torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from omegaconf import DictConfig, OmegaConf

from lapo_verl.guidance.text import check_text
from lapo_verl.method import DiscoveryConfig, InternalizationConfig
from lapo_verl.method.lengths import STATISTICS, Statistic, check_choice
from lapo_verl.runs.starting_point import starting_point
from lapo_verl.verify import Form

ANSWER_FORMS = get_args(Form)
STAGES = ("discovery", "internalization", "acc_only")
SettingsT = TypeVar("SettingsT")


class SettingsError(ValueError):
    """A value under ``lapo:`` that cannot be used; the message names the key and the way out."""


@dataclass(frozen=True)
class GuidanceSettings:
    """How the budget reaches the prompt (Table 2).

    Attributes:
        form: ``exact`` names the budget, ``range`` the band, ``implicit`` says nothing.
        place: ``inside`` the think block, or ``outside``: at the end of the user's turn.
        text: a template with {budget}, {low}, {high}; None for the form's own sentence.
        rounding: budgets are shown as multiples of this many tokens.
        unsolved: sentence of an unsolved problem: ``limit`` names the response limit (the paper), ``silent`` none.
        statistic: what budgets are made of in both stages (Table 3), where a stage does not say otherwise.
        share: share of stage 2's visits that are shown the sentence, in (0, 1]; the others are rewarded around M(q)
            all the same.
        validation: whether validation prompts are guided as well; the paper's are not.
    """

    form: Literal["exact", "range", "implicit"] = "exact"
    place: Literal["inside", "outside"] = "inside"
    text: str | None = None
    rounding: int = 1
    unsolved: Literal["limit", "silent"] = "limit"
    statistic: Statistic = "median"
    share: float = 1.0
    validation: bool = False

    def __post_init__(self) -> None:
        check_text(self.form, self.text, self.rounding)
        check_choice("place", self.place, ("inside", "outside"))
        check_choice("unsolved", self.unsolved, ("limit", "silent"))
        check_choice("statistic", self.statistic, STATISTICS)
        _check_range("share", self.share, above=0)
        if self.share > 1:
            raise ValueError(f"share must be in (0, 1], got {self.share}")
        if not isinstance(self.validation, bool):
            raise ValueError(f"validation must be true or false, got {self.validation!r}")


@dataclass(frozen=True)
class LengthSettings:
    """What |r_i| counts.

    Attributes:
        scope: ``response`` counts every generated token, ``think`` those up to and with ``</think>``.
    """

    scope: Literal["response", "think"] = "response"

    def __post_init__(self) -> None:
        check_choice("scope", self.scope, ("response", "think"))


@dataclass(frozen=True)
class LapoSettings:
    """The node ``lapo:``. See ``hydra_configs/lapo_base.yaml`` for what each key means."""

    stage: Literal["discovery", "internalization", "acc_only"]
    compat: Literal["paper", "reference"] = "paper"
    store: Path = Path("lapo_store.sqlite")
    init_from: Path | None = None
    poll_interval: float = 0.1
    max_unknown_share: float = 0.5
    verifier: Literal["lapo", "verl", "custom"] = "lapo"
    verify_timeout: float = 3.0
    answer_forms: tuple[Form, ...] = ("boxed",)
    prompt: str = "model"
    prompt_templates: Mapping[str, str | None] = field(default_factory=dict)
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    internalization: InternalizationConfig = field(default_factory=InternalizationConfig)
    guidance: GuidanceSettings = field(default_factory=GuidanceSettings)
    length: LengthSettings = field(default_factory=LengthSettings)

    def __post_init__(self) -> None:
        check_choice("stage", self.stage, STAGES)
        check_choice("verifier", self.verifier, ("lapo", "verl", "custom"))
        _check_range("poll_interval", self.poll_interval, above=0)
        _check_range("verify_timeout", self.verify_timeout, above=0)
        for form in self.answer_forms:
            check_choice("answer_forms", form, ANSWER_FORMS)
        if not self.answer_forms:
            raise ValueError(f"answer_forms must name at least one of {', '.join(ANSWER_FORMS)}")
        if not 0 <= self.max_unknown_share <= 1:
            raise ValueError(f"max_unknown_share must be in [0, 1], got {self.max_unknown_share}")
        check_choice("prompt", self.prompt, tuple(self.prompt_templates or ("model",)))

    @property
    def initial_store(self) -> Path | None:
        """The store that stage 2 starts with: that of the run or checkpoint that ``init_from`` names.

        Raises:
            StartingPointError: the folder has no checkpoint to start from.
        """
        return None if self.init_from is None else starting_point(self.init_from).store

    @property
    def statistic(self) -> str:
        """What M(q) is made of in this stage."""
        return self.internalization.statistic if self.stage == "internalization" else self.discovery.statistic

    @classmethod
    def parse(cls, node: DictConfig | Mapping[str, Any]) -> LapoSettings:
        """The settings of a composed config's ``lapo:`` node; null means: as ``lapo.compat`` says.

        Raises:
            SettingsError: an unknown key (the nearest right one is named) or a value out of range.
        """
        plain_node = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
        if not isinstance(plain_node, Mapping):
            raise SettingsError(f"lapo must be a mapping of keys, got {plain_node!r}")
        values = {str(key): value for key, value in plain_node.items()}
        check_keys("lapo", values)
        compat = values.get("compat", "paper")
        try:
            discovery, internalization = DiscoveryConfig.preset(compat), InternalizationConfig.preset(compat)
        except ValueError as error:
            raise SettingsError(f"lapo.compat: {error}") from error
        guidance = _override("lapo.guidance", GuidanceSettings(), values.get("guidance"))
        discovery = replace(discovery, statistic=guidance.statistic)
        internalization = replace(internalization, statistic=guidance.statistic)
        plain = {key: value for key, value in values.items() if key not in _SECTIONS}
        for key in ("store", "init_from"):
            if plain.get(key) is not None:
                plain[key] = Path(str(plain[key])).expanduser()
        if "answer_forms" in plain:
            forms = plain["answer_forms"]
            plain["answer_forms"] = (forms,) if isinstance(forms, str) else tuple(forms or ())
        try:
            return cls(
                **plain,
                discovery=_override("lapo.discovery", discovery, values.get("discovery")),
                internalization=_override("lapo.internalization", internalization, values.get("internalization")),
                guidance=guidance,
                length=_override("lapo.length", LengthSettings(), values.get("length")),
            )
        except SettingsError:
            raise
        except (ValueError, TypeError) as error:
            raise SettingsError(f"lapo.{error}") from error


_SECTIONS: dict[str, type[Any]] = {
    "discovery": DiscoveryConfig,
    "internalization": InternalizationConfig,
    "guidance": GuidanceSettings,
    "length": LengthSettings,
}
# A table whose keys are the user's to add: a name for lapo.prompt, and a chat template.
_TABLE = "lapo.prompt_templates"


def known_keys() -> list[str]:
    """Every key under ``lapo:``, dotted."""
    keys = [f"lapo.{item.name}" for item in fields(LapoSettings)]
    keys += [f"lapo.{name}.{item.name}" for name, section in _SECTIONS.items() for item in fields(section)]
    return keys


def check_keys(prefix: str, values: Mapping[str, Any]) -> None:
    """SettingsError where a key of ``values`` is none of LAPO's; names the nearest right one."""
    for message in unknown_keys(prefix, values):
        raise SettingsError(message)


def unknown_keys(prefix: str, values: Mapping[str, Any]) -> Iterator[str]:
    """One message for each key of ``values``, and of the mappings in it, that is none of LAPO's."""
    for key, value in values.items():
        message = unknown_key(f"{prefix}.{key}")
        if message is not None:
            yield message
        elif isinstance(value, Mapping):
            yield from unknown_keys(f"{prefix}.{key}", value)


def unknown_key(key: str) -> str | None:
    """What to say where the dotted ``key`` is none of LAPO's, with the nearest right one; None where it is."""
    known = known_keys()
    if key in known or key.startswith(f"{_TABLE}."):
        return None
    leaves = [name for name in known if name.rsplit(".", 1)[1] == key.rsplit(".", 1)[1]]
    nearest = leaves or difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known keys: {', '.join(known)}"
    return f"unknown key {key}: {hint}"


def check_overrides(arguments: Sequence[str]) -> None:
    """SettingsError where a command line sets a key under ``lapo.`` that does not exist.

    Hydra would only say that the key is not in its struct, and advise to add it.
    """
    for argument in arguments:
        message = unknown_override(argument)
        if message is not None:
            raise SettingsError(message)


def unknown_override(argument: str) -> str | None:
    """What to say where an argument ``key=value`` sets a key under ``lapo.`` that does not exist; else None."""
    name, equals, _ = argument.partition("=")
    key = name.lstrip("+~")
    return unknown_key(key) if equals and key.startswith("lapo.") else None


def _override(prefix: str, defaults: SettingsT, values: Mapping[str, Any] | None) -> SettingsT:
    given = {key: value for key, value in (values or {}).items() if value is not None}
    try:
        return replace(defaults, **given)  # type: ignore[type-var]
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{prefix}.{error}") from error


def _check_range(name: str, value: Any, above: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > above:
        raise ValueError(f"{name} must be a number > {above}, got {value!r}")
