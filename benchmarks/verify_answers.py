"""Sweep a file of real answers: each is accepted as a ground truth, equal to itself in other clothes, and to no other.

    python benchmarks/verify_answers.py path/to/answers.jsonl

The file has lines {"answer": ...}. Clothes: ``\\dfrac``, ``\\left \\right``, spaces, ``\\text`` dropped where it only
dresses, separators of thousands, units, a full stop. Changes: one digit, one sign, one item of a list left out, one
bracket turned. A change that leaves the same mathematics (the sign of 0, a sign in \\phantom) is listed; every other
one that counts as right is a false positive, and ends the sweep with exit code 1, as does a truth that is refused or
unequal to itself.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from lapo_verl.verify import check_ground_truth, verify
from lapo_verl.verify.brackets import COMMAS, outer

INTEGER = re.compile(r"-?[0-9]{4,}")
PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
TEXT = re.compile(r"\\(?:text|mbox|textbf|textrm|mathrm)\s*\{([^{}]*)\}")
GROUP = re.compile(r"[(\[][^()\[\]]*,[^()\[\]]*[)\]]")
NOTHING = re.compile(r"-(?=0(?![0-9.]))|\\phantom [+-]")  # -0, and what is not shown
TURNED = str.maketrans("()[]", "[]()")


def clothes(answer: str) -> Iterator[tuple[str, str]]:
    """(name, the same answer as somebody else would write it)"""
    yield "as it is", answer
    yield "dollars and full stop", f"${answer}$."
    yield "spaces", " " + re.sub(r"(?<=[0-9A-Za-z)}])([+=])", r" \1 ", answer) + "\\,"
    if "\\frac" in answer:
        yield "\\dfrac", answer.replace("\\frac", "\\dfrac")
        yield "\\tfrac", answer.replace("\\frac", "\\tfrac ")
    if (
        "\\left" not in answer
        and re.search(r"[(\[]", answer)
        and not re.search(r"\\[\[({\])}]|\\begin|\\sqrt\[", answer)
    ):
        sized = re.sub(r"[(\[]", r"\\left\g<0>", answer)
        yield "\\left \\right", re.sub(r"[)\]]", r"\\right\g<0>", sized)
    if TEXT.search(answer):
        yield "no \\text", TEXT.sub(r" \1 ", answer).strip()
        yield "\\mathrm", TEXT.sub(r"\\mathrm{\1}", answer)
    if INTEGER.fullmatch(answer.strip()):
        grouped = f"{int(answer):,}"
        for mark in (",", "{,}", ",\\!", "\\,"):
            yield "thousands", grouped.replace(",", mark)
    if PLAIN.fullmatch(answer.strip()):
        for unit in ("\\text{ cm}", " units", "\\text{ apples}", "\\,\\mathrm{cm}^2"):
            yield "units", answer.strip() + unit


def changes(answer: str) -> Iterator[tuple[str, str]]:
    """(name, another answer)"""
    for match in re.finditer(r"[0-9]", answer):
        yield "digit", f"{answer[: match.start()]}{(int(match[0]) + 1) % 10}{answer[match.end() :]}"
    for match in re.finditer(r"[+-]", answer):
        yield "sign", f"{answer[: match.start()]}{'-' if match[0] == '+' else '+'}{answer[match.end() :]}"
    if re.match(r"\s*(?:[0-9.]|\\frac|\\sqrt|\\pi|[a-z](?![a-z]))", answer):
        yield "sign", f"-{answer}"
    for group in GROUP.finditer(answer):
        for at in (group.start(), group.end() - 1):
            yield "bracket", answer[:at] + answer[at].translate(TURNED) + answer[at + 1 :]
    inner = re.fullmatch(r"\s*((?:\\left)?(?:\\\{|[(\[])?)(.*?)((?:\\right)?(?:\\\}|[)\]])?)\s*", answer, re.DOTALL)
    if inner and (commas := outer(inner[2], COMMAS)) and not re.fullmatch(r"[0-9,\\! ]+", answer):
        ends = [-1, *(comma.start() for comma in commas), len(inner[2])]
        items = [inner[2][start + 1 : end] for start, end in pairwise(ends)]
        for k in range(len(items)) if all(map(str.strip, items)) else ():
            yield "item", inner[1] + ",".join(items[:k] + items[k + 1 :]) + inner[3]


def judged(answer: str, truth: str) -> bool:
    return verify(f"So it is \\boxed{{{answer}}}.", truth).correct


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help='a .jsonl file of lines {"answer": ...}')
    file: Path = parser.parse_args().file
    answers = [json.loads(line)["answer"] for line in file.read_text(encoding="utf-8").splitlines()]

    tried: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    failures: list[str] = []
    same: list[str] = []
    begin = time.perf_counter()
    for truth in answers:
        tried["accepted"] += 1
        try:
            check_ground_truth(truth)
        except ValueError as error:
            failed["accepted"] += 1
            failures.append(f"refused: {error}")
        for name, given in clothes(truth):
            tried[f"equal: {name}"] += 1
            if not judged(given, truth):
                failed[f"equal: {name}"] += 1
                failures.append(f"not equal, {name}: {given!r} for {truth!r}")
        for name, given in changes(truth):
            tried[f"another: {name}"] += 1
            if not judged(given, truth):
                continue
            if NOTHING.sub("", given) == NOTHING.sub("", truth):
                same.append(f"the same by mathematics: {given!r} for {truth!r}")
            else:
                failed[f"another: {name}"] += 1
                failures.append(f"false positive, {name}: {given!r} for {truth!r}")
    print(
        f"{len(answers)} answers of {file.name}, {sum(tried.values())} questions, {time.perf_counter() - begin:.0f} s"
    )
    for name, count in sorted(tried.items()):
        print(f"{name:<32}{count:>8}{failed[name]:>8} failed")
    print("\n".join(same + failures))
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
