"""The one door verl comes in by: the entry point ``lapo`` of the group ``verl.plugins``.

``import verl`` loads this module in every process (driver, Ray actors, vLLM servers), so it imports nothing heavy.
verl finds the hooks themselves through the configs in ``hydra_configs/``, which name them as ``pkg://`` paths, and
Hydra finds those configs through ``hydra_plugins/lapo_search_path.py``.
"""

from lapo_verl import cpu
from lapo_verl.runs.starting_point import register_resolver

register_resolver()
if cpu.is_chosen():
    cpu.activate()
