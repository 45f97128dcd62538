"""The demo: both stages of LAPO on the toy, on a CPU. ``lapo demo`` runs it."""
