"""Lets Hydra find LAPO's configs by name, from any folder.

Hydra discovers this file by itself, whether or not verl loaded LAPO's plugin: a run whose plugin is missing then
reaches LAPO's preflight check, which says so, instead of ending in "config not found".
"""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from lapo_verl.hooks.settings import SettingsError, check_overrides
from lapo_verl.paths import hydra_configs


class LapoSearchPathPlugin(SearchPathPlugin):
    """Appends ``hydra_configs/``, so that configs of the same name elsewhere come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra before it composes, which is the last moment to explain a mistyped ``lapo.`` key."""
        search_path.append(provider="lapo_verl", path=f"file://{hydra_configs()}")
        try:
            check_overrides(sys.argv[1:])
        except SettingsError as error:
            raise SystemExit(f"lapo: error: {error}") from error
