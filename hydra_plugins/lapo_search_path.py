"""Lets Hydra find LAPO's configs by name, from any folder, where it composes a config for verl.

Hydra discovers this file by itself in every program of the environment, whether or not verl loaded LAPO's plugin: a run
whose plugin is missing then reaches LAPO's preflight check, which says so, instead of ending in "config not found".
"""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class LapoSearchPathPlugin(SearchPathPlugin):
    """Appends ``hydra_configs/``, so that configs of the same name elsewhere come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra before it composes, which is the last moment to explain a mistyped ``lapo.`` key.

        Raises:
            SystemExit: the command line sets a key under ``lapo.`` that does not exist.
        """
        if not _is_for_verl(search_path):
            return
        # Imported here: other programs of the environment load this file as well.
        from lapo_verl.config import ConfigError, check_overrides, register_objective_node
        from lapo_verl.paths import hydra_configs
        from lapo_verl.runs.starting_point import register_resolver

        register_resolver()
        register_objective_node()
        search_path.append(provider="lapo_verl", path=f"file://{hydra_configs()}")
        try:
            check_overrides(sys.argv[1:])
        except ConfigError as error:
            raise SystemExit(f"lapo: error: {error}") from error


def _is_for_verl(search_path: ConfigSearchPath) -> bool:
    """Whether verl's trainer composes, or somebody composes verl's own configs.

    ``--config-path`` replaces verl's configs on the search path, so verl's command is known by what it has imported;
    ``hydra.searchpath`` on the command line is not read yet.
    """
    paths = [str(element.path) for element in search_path.get_path()]
    return "verl.trainer" in sys.modules or any("verl.trainer.config" in text for text in (*paths, *sys.argv))
