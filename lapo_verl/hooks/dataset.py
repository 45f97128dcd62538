"""verl's dataset hook: each training row with its problem id and its budget as of now.

The budget is read from the store at the moment the row is fetched, so an update of step k shows in the next visit.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, ListConfig
from verl.utils.dataset.rl_dataset import RLHFDataset

# verl's agent-loop workers load the dataset's class, and with it the agent loop that its rows are made for.
from lapo_verl.hooks import agent_loop  # noqa: F401
from lapo_verl.hooks.rows import row_problem_id
from lapo_verl.hooks.settings import GuidanceSettings, LapoSettings
from lapo_verl.method import LengthStats, guidance_text
from lapo_verl.store import LengthStore


class LapoDataset(RLHFDataset):  # type: ignore[misc]
    """verl's dataset plus one column, ``lapo``: {problem_id, budget, guidance}, in training rows only.

    Validation rows pass through untouched: the model has to plan by itself.
    """

    def __init__(self, data_files: Any, tokenizer: Any, config: DictConfig, **kwargs: Any) -> None:
        self.settings = LapoSettings.parse(config.lapo)
        self.response_limit = int(config.max_response_length)
        self.for_training = _is_training(data_files, config)
        self._store: LengthStore | None = None
        super().__init__(data_files=data_files, tokenizer=tokenizer, config=config, **kwargs)

    def __getitem__(self, item: int) -> dict[str, Any]:
        row: dict[str, Any] = super().__getitem__(item)
        if not self.for_training:
            return row
        problem = row_problem_id(row)
        budget = self._reader().budgets([problem])[problem]
        guidance = ""
        if self.settings.stage == "internalization":
            stats = self._reader().statistics([problem])[problem] if self.settings.guidance.form == "range" else None
            guidance = guidance_sentence(self.settings.guidance, budget, stats, self.response_limit)
        if guidance and self.settings.guidance.place == "outside":
            row["raw_prompt"] = _with_sentence(row["raw_prompt"], guidance)
            guidance = ""
        row["lapo"] = {"problem_id": problem, "budget": budget, "guidance": guidance}
        return row

    def __getstate__(self) -> dict[str, Any]:
        # An open database cannot be pickled; the copy opens its own.
        state: dict[str, Any] = super().__getstate__()
        state["_store"] = None
        return state

    def _reader(self) -> LengthStore:
        if self._store is None:
            self._store = LengthStore.open(self.settings.store, read_only=True)
        return self._store


def guidance_sentence(
    guidance: GuidanceSettings, budget: float | None, stats: LengthStats | None, response_limit: int
) -> str:
    """The sentence of one visit; of an unsolved problem, one with the response limit, or none.

    Args:
        budget: M(q) in tokens, None where unsolved.
        stats: of the problem's latest solved visit, for the form ``range``.
        response_limit: in tokens.
    """
    if budget is None:
        if guidance.unsolved == "silent":
            return ""
        budget = float(response_limit)
    low, high = (stats.low, stats.high) if stats else (budget, budget)
    return guidance_text(guidance.form, budget, low, high, guidance.text, guidance.rounding)


def _with_sentence(messages: list[dict[str, Any]], sentence: str) -> list[dict[str, Any]]:
    """The messages with the sentence at the end of the last user turn (Table 2, outside)."""
    turn = max(index for index, message in enumerate(messages) if message["role"] == "user")
    said = dict(messages[turn])
    if not isinstance(said["content"], str):
        raise ValueError("lapo.guidance.place=outside needs text prompts")
    said["content"] += sentence
    return [*messages[:turn], said, *messages[turn + 1 :]]


def _is_training(data_files: Any, config: DictConfig) -> bool:
    """verl builds both datasets alike, and tells them apart by their files alone."""
    files, train, validation = (_as_list(value) for value in (data_files, config.train_files, config.val_files))
    if train == validation:
        raise ValueError(
            "data.train_files and data.val_files are the same; LAPO's dataset could not tell which rows get a "
            "budget: validate on a copy of the file"
        )
    return files == train


def _as_list(files: Any) -> list[str]:
    return [str(path) for path in files] if isinstance(files, list | ListConfig) else [str(files)]
