"""What a prompt says of the budget: the sentence, where it goes, think blocks. Knows tokenizers, not verl."""

from lapo_verl.guidance.text import guidance_text

__all__ = ["guidance_text"]
