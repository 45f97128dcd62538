"""verl's extension points, one file each. verl loads them by the ``pkg://`` paths in ``hydra_configs/``."""
