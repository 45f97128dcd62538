import subprocess
import sys


def test_method_knows_neither_torch_nor_verl_nor_ray() -> None:
    code = (
        "import sys, lapo_verl.method; "
        "print([m for m in ('torch', 'verl', 'ray', 'vllm', 'transformers', 'omegaconf') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
