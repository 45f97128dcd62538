"""Give every ground truth of a GSM8K-format file back in several spellings: all of them must be right.

And the truth plus one, in the same spellings, must be wrong. Run it on any file of lines {"question", "answer"} where
the answer ends in "#### x":

    python benchmarks/verify_gsm8k.py path/to/train.jsonl
"""

from __future__ import annotations

import argparse
import json
import time
from decimal import Decimal
from pathlib import Path

from lapo_verl.verify import check_ground_truth, verify


def spellings(number: Decimal) -> dict[str, str]:
    """Ways to write the number as a whole response, by name."""
    plain = f"{number:f}"
    with_zero = plain + ("0" if "." in plain else ".0")
    return {
        "\\boxed{x}": f"So the total is \\boxed{{{plain}}}.",
        "\\boxed{x.0}": f"So the total is \\boxed{{{with_zero}}}.",
        "thousands comma": f"So the total is \\boxed{{{number:,f}}}.",
        "with \\$": f"So she pays $\\boxed{{\\${plain}}}$.",
        "with $": f"So she pays \\boxed{{${plain}}}.",
        "in a sentence": f"<think>Or \\boxed{{0.123}}?</think> So the answer is $\\boxed{{{plain}}}$ in all.",
        "the answer is x": f"We add them up. The answer is {number:,f}.",
        "#### x": f"We add them up.\n#### {number:,f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a GSM8K-format .jsonl file")
    file: Path = parser.parse_args().file

    right: dict[str, int] = {}
    wrong: dict[str, int] = {}
    failures: list[str] = []
    rows = 0
    begin = time.perf_counter()
    for line in file.read_text(encoding="utf-8").splitlines():
        truth = json.loads(line)["answer"].rsplit("####", 1)[1].strip()
        check_ground_truth(truth)
        rows += 1
        number = Decimal(truth.replace(",", ""))
        for tally, value, expected in ((right, number, True), (wrong, number + 1, False)):
            for name, response in spellings(value).items():
                as_expected = verify(response, truth, forms=("boxed", "hash", "sentence")).correct is expected
                tally[name] = tally.get(name, 0) + as_expected
                if not as_expected:
                    failures.append(f"{name}: {response!r} against {truth!r} is not {expected}")
    took = time.perf_counter() - begin

    print(f"{rows} ground truths of {file.name}, {took:.1f} s")
    print(f"{'spelling':<18}{'truth is right':>16}{'truth + 1 is wrong':>22}")
    for name in right:
        print(f"{name:<18}{right[name] / rows:>15.2%} {wrong[name] / rows:>21.2%}")
    for failure in failures[:20]:
        print(failure)
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
