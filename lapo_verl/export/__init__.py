"""From a checkpoint to a folder that can be served and published: weights, tokenizer, chat template, model card."""
