"""What a prompt says of the budget: the sentence, where it goes, think blocks. Knows tokenizers, not verl."""
