"""The toy that the demo and the laboratory train: its task, tokenizer, warm-up and base model.

The recipes import it as ``toy``, with the folder ``recipes`` on PYTHONPATH, as ``lapo demo`` and ``make paper`` set it.
"""
