import json
import subprocess
import sys

# What numpy itself loads is taken for granted.
CODE = """
import json, sys, time
import numpy
before = set(sys.modules)
started = time.process_time()
import lapo_verl.objectives
seconds = time.process_time() - started
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps({"seconds": seconds, "new": sorted(new - set(sys.stdlib_module_names)), "all": sorted(sys.modules)}))
"""


def test_objectives_load_numpy_and_nothing_else_in_no_time() -> None:
    found = json.loads(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout)
    assert set(found["new"]) <= {"lapo_verl", "numpy"}
    others = [name for name in found["all"] if name.startswith("lapo_verl.") and "objectives" not in name]
    assert others == []
    # An objective is imported when it is asked for.
    assert "lapo_verl.objectives.discovery" not in found["all"]
    assert found["seconds"] < 0.1
