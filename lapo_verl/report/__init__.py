"""Reads what runs leave behind (validation dumps, training logs, stores); makes tables and pictures."""
