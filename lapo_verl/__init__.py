"""LAPO (arXiv 2507.15758) for verl: reward, length statistics and budgets as a plugin."""

__version__ = "0.1.0"
