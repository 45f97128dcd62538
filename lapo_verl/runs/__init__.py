"""Trainings and evaluations as processes and folders: verl's command, metrics, dumps, samples. One parser a format."""
