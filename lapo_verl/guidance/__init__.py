"""What a prompt says about the budget: the sentence, its place, think blocks. Knows tokenizers, not verl."""

from lapo_verl.guidance.text import guidance_text

__all__ = ["guidance_text"]
