"""How long do verl's validation metrics take with LAPO's columns, beside verl's own bootstrap in the same run?

    python benchmarks/bench_validation.py [--problems 500] [--answers 4]

Answers are drawn here; the columns are those that LAPO's reward manager adds. Exit code 1: the two differ.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from verl.trainer.ppo import metric_utils

from lapo_verl.hooks.validation_metrics import bootstrap_metric, verls_own

FLAGS = ("acc", "truncated", "verify_timed_out")
LENGTHS = ("tokens", "think_tokens", "final_turn_tokens")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--answers", type=int, default=4, help="of each problem")
    arguments = parser.parse_args()
    rng = random.Random(0)
    uids = [str(problem) for problem in range(arguments.problems) for _ in range(arguments.answers)]
    columns = {name: [float(rng.random() < 0.6) for _ in uids] for name in FLAGS}
    columns |= {name: [rng.randrange(200, 16_000) for _ in uids] for name in LENGTHS}
    columns["reward"] = columns["acc"]
    found, seconds = [], []
    for function in (verls_own, bootstrap_metric):
        metric_utils.bootstrap_metric = function
        started = time.perf_counter()
        found.append(metric_utils.process_validation_metrics(["math"] * len(uids), uids, columns))
        seconds.append(time.perf_counter() - started)
    print(f"{arguments.problems} problems with {arguments.answers} answers, {len(columns)} columns")
    print(f"verl's own {seconds[0]:.1f} s, LAPO's {seconds[1]:.1f} s: ratio {seconds[0] / seconds[1]:.1f}")
    print("the same metrics" if found[0] == found[1] else "THE METRICS DIFFER")
    return 0 if found[0] == found[1] else 1


if __name__ == "__main__":
    sys.exit(main())
