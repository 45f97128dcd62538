"""The command ``lapo``: arguments in, one call out."""
