"""What the recipes for a CPU share: a small Llama that is trained and sampled in plain torch, and its tokenizer.

The recipes import it as ``toy``, with the folder ``recipes`` on PYTHONPATH, as ``lapo demo`` and ``make paper`` set it.
"""
