"""verl's dataset hook: each training row with its problem id and its budget as of now.

The budget is read from the store at the moment the row is fetched, so an update of step k shows in the next visit.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, ListConfig
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.utils.tokenizer import normalize_token_ids

from lapo_verl.config import LapoConfig
from lapo_verl.data.rows import DataError, row_problem_id
from lapo_verl.guidance.sentence import (
    band_of,
    guidance_sentence,
    longest_guidance,
    shown_budget,
    shows_band,
    visit_draw,
    visit_is_guided,
    with_sentence,
)

# verl's trainer and its agent-loop workers load the dataset's class, and with it the agent loops that its rows are made
# for and what a validation needs.
from lapo_verl.hooks import agent_loop, tool_agent_loop, validation_metrics  # noqa: F401
from lapo_verl.store import LengthStore


class LapoDataset(RLHFDataset):  # type: ignore[misc]
    """verl's dataset plus one column, ``lapo``, in training rows.

    It is {problem_id, target, budget_age, prompt_budget, guided, guidance}. ``target`` is what the store knows of the
    problem, in tokens, None where nothing; ``budget_age`` is how many steps ago it got that value, None where there is
    none or no budget is asked for; ``guided`` says whether the prompt has a sentence; ``prompt_budget`` is the budget
    as the sentence shows it, None where it shows none; ``guidance`` is what the agent loop appends, "" where nothing.
    Validation rows pass through untouched, unless lapo.guidance.validation.
    """

    max_prompt_length: int

    def __init__(self, data_files: Any, tokenizer: Any, config: DictConfig, **kwargs: Any) -> None:
        self.lapo = LapoConfig.parse(config.lapo)
        self.response_limit = int(config.max_response_length)
        self.for_training = _is_training(data_files, config)
        self.max_prompt_length = int(config.max_prompt_length)
        self.is_guided = self.lapo.objective.names_budget and (self.for_training or self.lapo.guidance.validation)
        self._store: LengthStore | None = None
        super().__init__(data_files=data_files, tokenizer=tokenizer, config=config, **kwargs)

    def __getitem__(self, item: int) -> dict[str, Any]:
        row: dict[str, Any] = super().__getitem__(item)
        if not self.for_training and not self.is_guided:
            return row
        problem = row_problem_id(row)
        target = self._reader().budgets([problem])[problem]
        sentence, prompt_budget = self._sentence(problem, target) if self.is_guided else ("", None)
        appended = sentence
        if sentence and self.lapo.guidance.place == "outside":
            row["raw_prompt"] = with_sentence(row["raw_prompt"], sentence)
            appended = ""
        row["lapo"] = {
            "problem_id": problem,
            "target": target,
            "budget_age": self._age(problem) if self.is_guided else None,
            "prompt_budget": prompt_budget,
            "guided": bool(sentence),
            "guidance": appended,
        }
        return row

    def maybe_filter_out_long_prompts(self, dataframe: Any = None) -> Any:
        """verl's length filter, which here leaves room for the longest sentence that a row may be shown.

        Raises:
            DataError: verl's filter is off, and a row would not fit with its sentence.
        """
        if not self.is_guided:
            return super().maybe_filter_out_long_prompts(dataframe)
        room = self.max_prompt_length - longest_guidance(self.lapo.guidance, self.response_limit, self.tokenizer)
        if not self.filter_overlong_prompts:
            self._check_lengths(dataframe, room)
            return dataframe
        limit = self.max_prompt_length
        self.max_prompt_length = room
        try:
            return super().maybe_filter_out_long_prompts(dataframe)
        finally:
            self.max_prompt_length = limit

    def __getstate__(self) -> dict[str, Any]:
        # An open database cannot be pickled; the copy opens its own.
        state: dict[str, Any] = super().__getstate__()
        state["_store"] = None
        return state

    def _sentence(self, problem: str, target: float | None) -> tuple[str, float | None]:
        """The visit's sentence, "" where it is shown none, and the budget that it names, in tokens."""
        guidance, objective = self.lapo.guidance, self.lapo.objective
        step = self._reader().last_step(objective.name) or 0
        if self.for_training and not visit_is_guided(problem, step, guidance.share):
            return "", None
        budget = objective.prompt_budget(target, self.response_limit, visit_draw(problem, step))
        band = None
        if shows_band(guidance):
            lengths = self._reader().lengths_of_target([problem])[problem]
            band = None if lengths is None else band_of(lengths, guidance.low, guidance.high)
        sentence = guidance_sentence(guidance, budget, band, self.response_limit)
        return sentence, shown_budget(guidance, budget) if sentence else None

    def _age(self, problem: str) -> int | None:
        """From the step that gave the problem its target to the next one, whose row this is; None without a target."""
        steps = self._reader().steps_since_target([problem])[problem]
        return None if steps is None else steps + 1

    def _check_lengths(self, dataframe: Any, room: int) -> None:
        for index, row in enumerate(dataframe):
            ids = self.tokenizer.apply_chat_template(
                row[self.prompt_key],
                tools=self.tool_schemas,
                add_generation_prompt=True,
                tokenize=True,
                **self.apply_chat_template_kwargs,
            )
            tokens = len(normalize_token_ids(ids))
            if tokens > room:
                raise DataError(
                    f"{', '.join(_as_list(self.data_files))}, row {index} (problem {row_problem_id(row)}): the prompt "
                    f"has {tokens} tokens, and {self.max_prompt_length - room} are kept for the guidance: more than "
                    f"data.max_prompt_length={self.max_prompt_length}. Raise it by {tokens - room}, or leave such rows "
                    "out with data.filter_overlong_prompts=true"
                )

    def _reader(self) -> LengthStore:
        if self._store is None:
            self._store = LengthStore.open(self.lapo.store, read_only=True)
        return self._store


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
