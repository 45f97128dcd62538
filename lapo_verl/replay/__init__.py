"""`lapo replay`: recorded rollouts under other objectives and settings."""
