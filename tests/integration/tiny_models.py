"""Model folders as models are published, as small as they can be: tokenizer files, config.json, random weights.

Made by code. Each tokenizer has the structure of its family's: normalizer, pre-tokenizer, decoder, special tokens,
chat template, and the class that its tokenizer_config.json names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, PreTrainedConfig, Qwen2Config, Qwen3Config

TEMPLATES = Path(__file__).parent / "templates"
# What the vocabularies are learnt from: guidance, instructions, questions and think blocks.
TEXTS = (
    "I will answer the question with 512 tokens. I will answer the question with 190 to 310 tokens.",
    "What is 3 + 4? Please think step by step and output the final answer within \\boxed{}.",
    "You are a helpful AI assistant. The user asks a question, and the assistant solves it: <think> </think>",
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May.\n#### 72",
)
# Every head has 32 values, the fewest that vLLM's attention on a CPU takes.
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 131072,
}
THOUGHTS = ("<think>", "</think>")
# What Qwen and Llama 3 split a text by before they look up tokens.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,%d}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class TinyModel:
    """One published model's structure.

    Attributes:
        template: file of the chat template in ``templates``.
        tokenizer_class: that tokenizer_config.json names; transformers may load another one.
        config: the class of config.json, and with it ``model_type``.
        backend: trains the tokenizer, special tokens aside.
        specials: tokens of the template, ``bos``, ``eos`` and ``pad`` among them.
        thoughts: the tokens <think> and </think>, where the vocabulary has them.
    """

    name: str
    template: str
    tokenizer_class: str
    config: type[PreTrainedConfig]
    backend: Callable[[], Tokenizer]
    specials: tuple[str, ...]
    bos: str | None
    eos: str
    pad: str
    thoughts: tuple[str, ...] = ()
    unknown: str | None = None

    def save(self, folder: Path, weights: bool = True) -> Path:
        """Write the folder, as vLLM, transformers and verl load it; without ``weights`` a hundredth of a second."""
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = self.backend()
        tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in self.specials])
        tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in self.thoughts])
        if self.bos is not None:
            first = (self.bos, tokenizer.token_to_id(self.bos))
            tokenizer.post_processor = processors.TemplateProcessing(f"{self.bos} $A", special_tokens=[first])
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps(self._tokenizer_config(), indent=2))
        config = self.config(
            architectures=[f"{self.config.__name__.removesuffix('Config').removesuffix('Text')}ForCausalLM"],
            vocab_size=tokenizer.get_vocab_size(),
            bos_token_id=tokenizer.token_to_id(self.bos or self.pad),
            eos_token_id=tokenizer.token_to_id(self.eos),
            pad_token_id=tokenizer.token_to_id(self.pad),
            **SHAPE,
        )
        if weights:
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        else:
            config.save_pretrained(folder)
        return folder

    def _tokenizer_config(self) -> dict[str, Any]:
        return {
            "bos_token": self.bos,
            "eos_token": self.eos,
            "pad_token": self.pad,
            "unk_token": self.unknown,
            "add_bos_token": self.bos is not None,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": SHAPE["max_position_embeddings"],
            "tokenizer_class": self.tokenizer_class,
            "chat_template": (TEMPLATES / f"{self.template}.jinja").read_text().removesuffix("\n"),
        }


def byte_level(digits: int, normalizer: normalizers.Normalizer | None = None) -> Tokenizer:
    """A byte-level BPE tokenizer: a space is written ``Ġ`` in its vocabulary, and a token has up to so many digits."""
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT % digits), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def byte_fallback() -> Tokenizer:
    """A tokenizer of SentencePiece's kind: a space is written ``▁``, and what has no token is written in bytes."""
    trained = Tokenizer(models.BPE())
    spaces = normalizers.Replace(" ", "▁")
    trained.normalizer = spaces
    trained.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    trained.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=300, show_progress=False))
    learnt = json.loads(trained.to_str())["model"]
    names = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "\n", *learnt["vocab"]]
    merges = [tuple(pair) for pair in learnt["merges"]]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    model = models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = spaces
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def qwen() -> Tokenizer:
    return byte_level(1, normalizers.NFC())


def llama() -> Tokenizer:
    return byte_level(3)


DEEPSEEK_SPECIALS = (
    "<｜begin▁of▁sentence｜>",  # noqa: RUF001
    "<｜end▁of▁sentence｜>",  # noqa: RUF001
    "<｜User｜>",  # noqa: RUF001
    "<｜Assistant｜>",  # noqa: RUF001
)
LLAMA_SPECIALS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")

# DeepSeek-R1-Distill-Qwen: Qwen's vocabulary with DeepSeek's special tokens and chat template.
R1_DISTILL_QWEN = TinyModel(
    name="r1_distill_qwen",
    template="r1_distill_qwen",
    tokenizer_class="LlamaTokenizerFast",
    config=Qwen2Config,
    backend=qwen,
    specials=DEEPSEEK_SPECIALS,
    bos=DEEPSEEK_SPECIALS[0],
    eos=DEEPSEEK_SPECIALS[1],
    pad=DEEPSEEK_SPECIALS[1],
    thoughts=THOUGHTS,
)
# DeepSeek-R1-Distill-Llama: Llama 3's byte-level vocabulary, and a class that transformers 5 reads as SentencePiece.
R1_DISTILL_LLAMA = TinyModel(
    name="r1_distill_llama",
    template="r1_distill_qwen",
    tokenizer_class="LlamaTokenizerFast",
    config=LlamaConfig,
    backend=llama,
    specials=DEEPSEEK_SPECIALS,
    bos=DEEPSEEK_SPECIALS[0],
    eos=DEEPSEEK_SPECIALS[1],
    pad=DEEPSEEK_SPECIALS[1],
    thoughts=THOUGHTS,
)
QWEN3 = TinyModel(
    name="qwen3",
    template="qwen3",
    tokenizer_class="Qwen2Tokenizer",
    config=Qwen3Config,
    backend=qwen,
    specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    bos=None,
    eos="<|im_end|>",
    pad="<|endoftext|>",
    thoughts=THOUGHTS,
)
LLAMA3 = TinyModel(
    name="llama3",
    template="llama3",
    tokenizer_class="PreTrainedTokenizerFast",
    config=LlamaConfig,
    backend=llama,
    specials=LLAMA_SPECIALS,
    bos=LLAMA_SPECIALS[0],
    eos="<|eot_id|>",
    pad="<|end_of_text|>",
)
GEMMA3 = TinyModel(
    name="gemma3",
    template="gemma3",
    tokenizer_class="GemmaTokenizer",
    config=Gemma3TextConfig,
    backend=byte_fallback,
    specials=("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
    bos="<bos>",
    eos="<end_of_turn>",
    pad="<pad>",
    unknown="<unk>",
)
TINY_MODELS = (R1_DISTILL_QWEN, R1_DISTILL_LLAMA, QWEN3, LLAMA3, GEMMA3)


def make_r1_distill_like(folder: Path) -> Path:
    """A model like DeepSeek-R1-Distill-Qwen, with random weights: ``model_type: qwen2`` and DeepSeek's tokens."""
    return R1_DISTILL_QWEN.save(folder)
