"""Does the tokenizer that transformers loads read and write texts as its tokenizer.json says?

transformers 5 chooses a tokenizer's class by names in tokenizer_config.json and config.json. A byte-level tokenizer
that calls itself ``LlamaTokenizerFast`` in a model of type ``llama`` (DeepSeek-R1-Distill-Llama) is loaded as a
SentencePiece one, and every space of the prompt is lost (huggingface/transformers 45488).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lapo_verl.data.rows import read_rows
from lapo_verl.doctor.diagnostic import Finding

if TYPE_CHECKING:
    from lapo_verl.doctor.preflight import Run

FILE = "tokenizer.json"
# What prompts and responses are made of: the guidance, white space, LaTeX, think blocks, accents, other scripts.
TEXTS = (
    " I will answer the question with 512 tokens.",
    "two  spaces,\ta tab\na line\n\nand a paragraph\n",
    "Solve $\\frac{1}{2}x^2 = \\sqrt{30}$ and put the answer within \\boxed{}.",
    "<think>\n1 + 1 = 2\n</think>\n\n#### 2",
    "café naïve où",
    "求 1000 的平方根 かな 한국어",
)
# Share of a prompt's tokens above which it is mostly unknown.
MOSTLY = 0.5


class TokenizerError(ValueError):
    """A tokenizer that a model cannot be trained with; the message says why and how to fix it."""


@dataclass(frozen=True)
class Difference:
    """A text that the loaded tokenizer treats otherwise than tokenizer.json.

    Attributes:
        ids, file_ids: its tokens by the loaded tokenizer, and by the file.
        back, file_back: these tokens as text again.
    """

    text: str
    ids: list[int]
    file_ids: list[int]
    back: str
    file_back: str

    @property
    def loses_text(self) -> bool:
        """Whether the text comes back otherwise; else its tokens alone are others."""
        return self.back != self.file_back

    def __str__(self) -> str:
        if self.loses_text:
            return f"{self.text!r} comes back as {self.back!r}"
        return f"{self.text!r} is split into {len(self.ids)} tokens, and into {len(self.file_ids)} by the file"


def find_difference(tokenizer: Any, file: Path, texts: Sequence[str] = TEXTS) -> Difference | None:
    """The first of ``texts`` whose tokens, or whose way back to text, are not those of ``file``; None where all agree.

    Args:
        tokenizer: as transformers loads it.
        file: its tokenizer.json, read here by the tokenizers library.
    """
    from tokenizers import Tokenizer

    by_file = Tokenizer.from_file(str(file))
    for text in texts:
        ids = list(tokenizer.encode(text, add_special_tokens=False))
        file_ids = by_file.encode(text, add_special_tokens=False).ids
        back = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        file_back = by_file.decode(file_ids, skip_special_tokens=False)
        if (ids, back) != (file_ids, file_back):
            return Difference(text, ids, file_ids, back, file_back)
    return None


def tokenizer_file(path: str) -> Path | None:
    """The tokenizer.json of a folder, or of a model of the hub that is in the cache; None where it has none."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder / FILE if (folder / FILE).is_file() else None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(path, FILE)
    return Path(cached) if isinstance(cached, str) else None


def check_round_trip(run: Run) -> list[Finding]:
    """Preflight: the tokenizer loses no text; a warning where its tokens are others than those of tokenizer.json.

    Raises:
        TokenizerError: it loses text.
        ModelError: a model cannot be loaded.
    """
    path, tokenizer = run.loaded_model.tokenizer_path, run.loaded_model.tokenizer
    file = tokenizer_file(path)
    difference = find_difference(tokenizer, file) if file is not None else None
    if difference is None:
        return []
    text = (
        f"{path}: transformers loads the tokenizer as {type(tokenizer).__name__}, which reads texts differently from "
        f"its {FILE}: {difference}. Write a repaired copy with: lapo repair-tokenizer {path} FOLDER, and set "
        "actor_rollout_ref.model.path=FOLDER"
    )
    if difference.loses_text:
        raise TokenizerError(text)
    return [Finding("warning", text)]


def check_known_words(run: Run) -> list[Finding]:
    """Preflight: the first prompt of each training file is not made of unknown tokens.

    Raises:
        TokenizerError: it mostly is, or the chat template cannot write it.
    """
    model = run.loaded_model
    if not model.template or model.processor is not None:
        return []  # the doctor and verl say so; what sees images has other prompts
    for path in run.training:
        ids = _prompt_ids(run, path)
        share = unknown_share(model.tokenizer, ids)
        if share > MOSTLY:
            raise TokenizerError(
                f"{path}, row 0: {share:.0%} of the prompt's {len(ids)} tokens are unknown to the tokenizer of "
                f"{model.tokenizer_path}: the model would not see the problem. Take a model whose vocabulary fits the "
                "data"
            )
    return []


def _prompt_ids(run: Run, path: Path) -> list[int]:
    """The first row's prompt."""
    messages, tokenizer = next(read_rows(path))["prompt"], run.loaded_model.tokenizer
    kwargs = run.config.data.apply_chat_template_kwargs
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **kwargs)
    except Exception as error:  # a template may raise anything
        raise TokenizerError(
            f"{path}, row 0: the chat template cannot write its prompt ({type(error).__name__}: {error}); change the "
            "row's messages, or choose another template with lapo.prompt"
        ) from error
    return list(tokenizer.encode(text, add_special_tokens=False))


def unknown_share(tokenizer: Any, ids: Sequence[int]) -> float:
    """The share of ``ids`` that are the unknown token, in [0, 1]."""
    unknown = tokenizer.unk_token_id
    return 0.0 if unknown is None or not ids else list(ids).count(unknown) / len(ids)
