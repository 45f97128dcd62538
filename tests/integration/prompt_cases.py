"""Chat templates of models that LAPO is used with, and small tokenizers that know their tokens.

The templates are those of the models as far as text turns go; branches for tool calls are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEMPLATES = Path(__file__).parent / "templates"
TEXTS = (
    "I will answer the question with 512 tokens. I will answer the question with 190 to 310 tokens.",
    "What is 3 + 4? Please think step by step and output the final answer within \\boxed{}.",
    "You are a helpful AI assistant. The user asks a question, and the assistant solves it: <think> </think>",
)


@dataclass(frozen=True)
class PromptCase:
    """One model's way of writing a prompt.

    Attributes:
        specials: tokens of its template; the first one begins a text, the last one ends it.
        thoughts: the tokens <think> and </think>, where the vocabulary has them.
        seam: the text between the template's end and the sentence.
    """

    name: str
    specials: tuple[str, ...]
    thoughts: tuple[str, ...]
    seam: str

    @property
    def template(self) -> str:
        return (TEMPLATES / f"{self.name}.jinja").read_text().removesuffix("\n")

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """A byte-level BPE tokenizer, as these models have, trained on a few sentences."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        tokenizer.train_from_iterator(TEXTS, trainer)
        tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in self.specials])
        tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in self.thoughts])
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token=self.specials[0],
            eos_token=self.specials[-1],
            pad_token=self.specials[-1],
            chat_template=self.template,
        )


THOUGHTS = ("<think>", "</think>")
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PROMPT_CASES = (
    PromptCase(
        "r1_distill_qwen",
        ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),  # noqa: RUF001
        THOUGHTS,
        "",
    ),
    PromptCase("qwen3", CHATML, THOUGHTS, "<think>\n"),
    PromptCase(
        "llama3", ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), THOUGHTS, "<think> "
    ),
    PromptCase("smollm2", CHATML, (), ""),
    PromptCase("plain", ("<s>", "</s>"), (), " "),
)
