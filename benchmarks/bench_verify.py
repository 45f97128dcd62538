"""How fast is the verifier, beside math-verify alone in the same run?

    python benchmarks/bench_verify.py [--quick]

Four rows: integers (the fast path), a mix of forms as in competition mathematics, expressions that need more than
rational arithmetic, and a batch of 1,024 answers of which 1 % would hang a computer algebra system.
"A second and core": one thread asks, so at any time one core works, this process or the server. The mix is written
here: 60 % integers, 12 % fractions, 8 % roots and pi, 5 % decimals and percent, 5 % tuples, intervals and sets, 4 %
choices and words, 6 % algebra; half of the answers are right, in another spelling; eight answers to a question, as in
a group of rollouts.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from lapo_verl.verify import DEFAULT_TIMEOUT_S, is_correct, verify
from lapo_verl.verify.client import warm_up

Pair = tuple[str, str, bool]  # response, truth, whether it is right

GROUP = 8
BATCH = 1_024
BASELINE_LIMIT_S = 60
THOUGHTS = "First we set up the equation $2x + 3 = 11$, and then we solve it: $x = \\frac{8}{2}$. " * 12
HOSTILE = (
    "9^{9^{9^{9}}}",
    "(9^9+1)!",
    "\\int_0^{1} x^{x^{x^{x}}} dx",
    "(x+y+z+1)^{4000}",
    "\\binom{10^{9}}{5 \\cdot 10^{8}}",
    "2^{10000 \\cdot 10000 \\cdot 10000}",
    "\\prod_{n=1}^{100000000} (n^2+1)",
    "((((x+1)^{50}+y)^{50}+z)^{50}+1)^{50}",
    "9^{9\\cdot9^{9\\cdot9^{9}}}",
    "\\sum_{n=1}^{10^{12}} \\frac{1}{n^2}",
)


def response(answer: str) -> str:
    return f"<think>{THOUGHTS}</think>\n{THOUGHTS[:300]} The answer is $\\boxed{{{answer}}}$."


def integers(rng: random.Random, n: int) -> list[Pair]:
    pairs = []
    for _ in range(n):
        truth = rng.randrange(10_000)
        given = truth if rng.random() < 0.5 else truth + rng.randrange(1, 100)
        pairs.append((response(str(given)), str(truth), given == truth))
    return pairs


def question(rng: random.Random) -> tuple[str, list[str], list[str]]:
    """(truth, spellings of it, wrong answers)"""
    a, b, c = rng.randrange(60, 260), rng.randrange(2, 60), rng.choice((2, 3, 5, 7, 11, 13))
    kind = rng.random()
    if kind < 0.60:
        return str(a), [str(a), f"{a}.0", f"x = {a}"], [str(a + 1), str(-a), f"{a + b}"]
    if kind < 0.72:
        p = c * b + 1
        return f"\\frac{{{p}}}{{{c}}}", [f"\\dfrac{{{p}}}{{{c}}}", f"{p}/{c}"], [f"\\frac{{{c}}}{{{p}}}", str(p)]
    if kind < 0.80:
        return (
            f"{b}\\sqrt{{{c}}}",
            [f"{b} \\sqrt{{{c}}}", f"\\sqrt{{{b * b * c}}}"],
            [f"\\sqrt{{{c}}}", f"{b}\\pi", f"{b * c}"],
        )
    if kind < 0.85:
        return f"{a}\\%", [f"{a}%", f"{a}", f"{a / 100}"], [f"{a + 1}\\%", f"{a * 10}"]
    if kind < 0.90:
        return f"({a}, {b})", [f"({a},{b})", f"\\left({a}, {b}\\right)"], [f"({b},{a})", f"[{a},{b}]", f"{a},{b}"]
    if kind < 0.94:
        return "\\text{(B)}", ["B", "(B)", "\\textbf{(B)}"], ["A", "(C)", "A, B, C", f"{a}"]
    return (
        f"x^2+{a}x+{b}",
        [f"{b}+{a}x+x^2", f"x^{{2}}+{a}x+{b}", f"x(x+{a})+{b}"],
        [f"x^2-{a}x+{b}", f"x^2+{b}x+{a}", f"{a}x+{b}"],
    )


def mixed(rng: random.Random, n: int) -> list[Pair]:
    pairs: list[Pair] = []
    while len(pairs) < n:
        truth, rights, wrongs = question(rng)
        for _ in range(GROUP):
            right = rng.random() < 0.5
            pairs.append((response(rng.choice(rights if right else wrongs)), truth, right))
    return pairs[:n]


def algebra(rng: random.Random, n: int) -> list[Pair]:
    """Each pair is new: nothing that was computed before helps."""
    pairs: list[Pair] = []
    for a in range(1, n + 1):
        truth, rights, wrongs = rng.choice(
            (
                (f"\\sin(2x)+{a}", [f"{a}+2\\sin(x)\\cos(x)"], [f"\\cos(2x)+{a}"]),
                (f"\\frac{{{a}}}{{\\sqrt{{2}}+1}}", [f"{a}(\\sqrt{{2}}-1)"], [f"{a}(\\sqrt{{2}}+1)"]),
                (f"\\ln {a + 2}", [f"2\\ln\\sqrt{{{a + 2}}}"], [f"\\ln {a + 3}"]),
                (f"{a}-|x|", [f"{a}-|-x|"], [f"{a}-|2x|"]),
                (f"2^{{n+{a}}}", [f"2^{{{a}}}\\cdot2^n"], [f"2^n+{a}"]),
            )
        )
        right = rng.random() < 0.5
        pairs.append((response(rng.choice(rights if right else wrongs)), truth, right))
    return pairs


def hostile_batch(rng: random.Random) -> list[Pair]:
    pairs = mixed(rng, BATCH)
    for k in range(BATCH // 100):
        pairs[k * 100 + 50] = (response(HOSTILE[k % len(HOSTILE)]), "x^2+1", False)
    return pairs


def per_second(pairs: list[Pair]) -> tuple[float, int]:
    """(answers a second, verdicts that are not as meant)"""
    begin = time.perf_counter()
    mistakes = sum(is_correct(given, truth) is not right for given, truth, right in pairs)
    return len(pairs) / (time.perf_counter() - begin), mistakes


def math_verify_alone(pairs: list[Pair]) -> tuple[float, int]:
    """As its README has it; its time limit needs the main thread."""
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    begin = time.perf_counter()
    mistakes = 0
    for given, truth, right in pairs:
        verdict = math_verify.verify(math_verify.parse(f"${truth}$"), math_verify.parse(given))
        mistakes += bool(verdict) is not right
    return len(pairs) / (time.perf_counter() - begin), mistakes


def batch_by_math_verify() -> str:
    """What math-verify alone does with the batch, in a process of its own that is killed after a while."""
    command = [sys.executable, __file__, "--baseline-batch"]
    begin = time.perf_counter()
    try:
        subprocess.run(command, timeout=BASELINE_LIMIT_S, check=False, capture_output=True)
    except subprocess.TimeoutExpired:
        return f"not done after {BASELINE_LIMIT_S} s"
    return f"{time.perf_counter() - begin:.1f} s"


def timed(pair: Pair) -> tuple[float, bool, bool]:
    begin = time.perf_counter()
    verdict = verify(pair[0], pair[1])
    return time.perf_counter() - begin, verdict.timed_out, verdict.correct is not pair[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the answers, no baseline for the batch")
    parser.add_argument("--baseline-batch", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.baseline_batch:
        math_verify_alone(hostile_batch(random.Random(2)))
        return

    scale = 10 if arguments.quick else 1
    warm_up()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, responses of {len(response('1')):,} characters")
    print(f"{'':<34}{'lapo_verl':>12}{'math-verify':>14}{'ratio':>8}   goal")
    for name, pairs, goal in (
        ("integers, answers/s and core", integers(random.Random(0), 40_000 // scale), ">= 20,000"),
        ("mixed forms, answers/s and core", mixed(random.Random(1), 20_000 // scale), ">= 2,000"),
        ("algebra, answers/s and core", algebra(random.Random(3), 1_000 // scale), "none"),
    ):
        ours, our_mistakes = per_second(pairs)
        theirs, their_mistakes = math_verify_alone(pairs[: 400 // scale])
        print(f"{name:<34}{ours:>12,.0f}{theirs:>14,.0f}{ours / theirs:>8.0f}   {goal}")
        print(
            f"{'  verdicts not as meant':<34}{our_mistakes / len(pairs):>12.2%}{their_mistakes / (400 // scale):>14.2%}"
        )

    batch = hostile_batch(random.Random(2))
    begin = time.perf_counter()
    with ThreadPoolExecutor(32) as threads:
        results = list(threads.map(timed, batch))
    took = time.perf_counter() - begin
    baseline = "-" if arguments.quick else batch_by_math_verify()
    print(f"{'1,024 answers, 1 % hostile':<34}{took:>10.1f} s   {baseline}   <= 10 s")
    print(
        f"  longest answer, queue included: {max(r[0] for r in results):.1f} s (limit {DEFAULT_TIMEOUT_S:.0f} s); "
        f"timed out: {sum(r[1] for r in results)}; not as meant: {sum(r[2] for r in results)}"
    )


if __name__ == "__main__":
    main()
