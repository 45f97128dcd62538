"""The store knows what an objective is, and not one of them."""

import subprocess
import sys

PROGRAM = """
import sys
from lapo_verl.store import LengthStore
from lapo_verl.objectives import objective_names
print(*(name for name in objective_names() if f"lapo_verl.objectives.{name}" in sys.modules))
print(*(name for name in ("verl", "torch", "transformers") if name in sys.modules))
"""


def test_the_store_imports_no_objective() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert found == "\n\n"
