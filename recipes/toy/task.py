"""Graded sums with digits that have to be guessed: the toy's world.

A problem is six links, such as ``a3*4=2;b72*3=6;c5*7=5;...?``. A plain link names its digit (``a3``); a fork names
two (``b72``), of which one is meant: the one whose product with the multiplier ends in the digit after ``=``. The
answer has two digits: the last one of the sum of links a, c and e, and that of the sum of b, d and f. The level says
how many links are forks, and how clear they are; the shortest response has the same length on every level.

A response is ``<trace></think>\\boxed{57}``; the prompt has opened the think block already. A trace goes through the
links and writes for each its letter, its digit and both sums so far, the one just added to last. It may check before:

     quick:                                           what it is going to do after its sums, in a word
    a303                                              no check, the shortest
    c5 given5*7=5,5 ok28                              a check of what the question says, which is waste
    b2 check2*3=6,6 ok32                              a check of a guess that confirms it
    b7 check7*3=1,6 no alternatively232               one that finds an error and repairs it
     wait:a03b32c38d80e01f18                          a further pass over the sums, which finds nothing: waste
     so57                                             its result

A first digit of a fork errs at random: either is written with equal probability, and no rule in the traces tells which
one is meant before its product is written out. With f forks a trace without checks is right in about 1 of 2^f cases
(errors seldom cancel), and each fork has to be checked once; every other check is waste. Whether a trace goes over its
sums again, and how often, depends on the word that it begins with (``STYLES``) and not on the problem: most traces do
not, and those that do, do not stop soon. So easy problems are overthought, and on hard ones a part of the guesses stays
unchecked. On some forks both digits fit, and the one that is meant cannot be found out: this bounds the accuracy that
any policy can reach (``best_accuracy``).
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

LETTERS = "abcdef"
# Forks of each level. The last two are never trained on: do lengths extrapolate?
FORKS = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6}
LEVELS = (1, 2, 3, 4, 5)
HARDER_LEVELS = (6, 7)
DIGITS = range(1, 10)
MULTIPLIERS = range(2, 10)
# Share of the forks whose two digits both fit, by level.
AMBIGUOUS_SHARE = {1: 0.0, 2: 0.04, 3: 0.07, 4: 0.1, 5: 0.5, 6: 0.5, 7: 0.5}
# How a check begins: of a guess, and of a digit that the question names; and a further pass over the sums.
FORK_OPENER, PLAIN_OPENER, PASS_OPENER = " check", " given", " wait:"
# The word that a trace begins with, and the probabilities that it goes over its sums again, and once more after each
# further pass. All are as frequent, at any temperature.
STYLES = {" quick": (0.0, 0.0), " steady": (0.4, 0.8), " thorough": (0.97, 0.9)}

# Prompt tokens, with a sentence of guidance.
PROMPT_LIMIT = 80
# Response tokens; the base model hardly ever needs more (base.md).
RESPONSE_LIMIT = 320
# Tokens of the shortest response, of the shortest check that confirms, and what a check that repairs has more.
SHORTEST, CHECK, REPAIR = 35, 9, 2

_ANSWER = re.compile(r"</think>\\boxed\{(\d+)\}")


@dataclass(frozen=True)
class Link:
    """One digit to be found: ``options`` are one digit (plain) or two (fork), ``digit`` the one that is meant."""

    options: tuple[int, ...]
    multiplier: int
    digit: int

    @property
    def last_digit(self) -> int:
        """What the product of the right digit ends in."""
        return self.digit * self.multiplier % 10

    def fits(self, digit: int) -> bool:
        """Whether a check of this digit says ok."""
        return digit * self.multiplier % 10 == self.last_digit

    @property
    def text(self) -> str:
        """The link in the question, without its letter: ``72*4=8``."""
        return f"{''.join(map(str, self.options))}*{self.multiplier}={self.last_digit}"


@dataclass(frozen=True)
class Problem:
    """Six links, and the level that their number of forks belongs to."""

    level: int
    links: tuple[Link, ...]

    @property
    def problem_id(self) -> str:
        """The problem itself, as text; two ambiguous problems may share it and differ in what is meant."""
        return ";".join(letter + link.text for letter, link in zip(LETTERS, self.links, strict=True))

    @property
    def question(self) -> str:
        """The user's message."""
        return f"{self.problem_id}?"

    @property
    def answer(self) -> str:
        """The two last digits; "05" is one of them."""
        return answer_of([link.digit for link in self.links])


@dataclass(frozen=True)
class TraceSettings:
    """How verbose the traces are, whatever the problem.

    Attributes:
        check_plain, check_fork: the probability that the digit of such a link is checked.
        styles: as in ``STYLES``; who starts to doubt goes on doubting, which gives the lengths their long tail.
        max_passes: it bounds that tail, so that hardly any response is truncated.
    """

    check_plain: float = 0.15
    check_fork: float = 0.7
    styles: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(STYLES))
    max_passes: int = 10


@dataclass(frozen=True)
class Trace:
    """A reasoning trace and the answer it ends in, right or wrong."""

    text: str
    answer: str

    @property
    def response(self) -> str:
        """What the model has to generate, without the end token."""
        return f"{self.text}</think>\\boxed{{{self.answer}}}"


def add(sums: tuple[int, int], digit: int) -> tuple[int, int]:
    """Both sums after the next link: links add to them in turn, and the one just added to is written last."""
    return sums[1], (sums[0] + digit) % 10


def answer_of(digits: Sequence[int]) -> str:
    """The answer that these digits of the links give."""
    sums = (0, 0)
    for digit in digits:
        sums = add(sums, digit)
    return f"{sums[0]}{sums[1]}"


def draw_problem(rng: random.Random, level: int) -> Problem:
    """A problem of this level; its forks are at random places."""
    forks = set(rng.sample(range(len(LETTERS)), FORKS[level]))
    return Problem(
        level,
        tuple(_draw_fork(rng, AMBIGUOUS_SHARE[level]) if i in forks else _draw_plain(rng) for i in range(len(LETTERS))),
    )


def _draw_plain(rng: random.Random) -> Link:
    digit = rng.choice(DIGITS)
    return Link((digit,), rng.choice(MULTIPLIERS), digit)


def _draw_fork(rng: random.Random, ambiguous_share: float) -> Link:
    ambiguous = rng.random() < ambiguous_share
    while True:
        first, second = rng.sample(DIGITS, 2)
        link = Link((first, second), rng.choice(MULTIPLIERS), rng.choice((first, second)))
        if link.fits(first) and link.fits(second) if ambiguous else link.fits(first) != link.fits(second):
            return link


def draw_problems(
    rng: random.Random, per_level: int, levels: Sequence[int] = LEVELS, exclude: Collection[str] = ()
) -> list[Problem]:
    """``per_level`` different problems of each level, in random order; none whose id is in ``exclude``."""
    taken = set(exclude)
    problems: list[Problem] = []
    for level in levels:
        found = 0
        while found < per_level:
            problem = draw_problem(rng, level)
            if problem.problem_id not in taken:
                taken.add(problem.problem_id)
                problems.append(problem)
                found += 1
    rng.shuffle(problems)
    return problems


def draw_trace(rng: random.Random, problem: Problem, settings: TraceSettings) -> Trace:
    """One reasoning trace; how much it checks does not depend on the problem, but for the share of its forks."""
    style = rng.choice(list(settings.styles))
    text, going_over, sums, digits = style + ":", PASS_OPENER, (0, 0), []
    for letter, link in zip(LETTERS, problem.links, strict=True):
        digit = rng.choice(link.options)
        text += f"{letter}{digit}"
        is_fork = len(link.options) > 1
        if rng.random() < (settings.check_fork if is_fork else settings.check_plain):
            said, digit = _check(link, digit)
            text += said
        digits.append(digit)
        sums = add(sums, digit)
        text += f"{sums[0]}{sums[1]}"
        going_over += f"{letter}{sums[0]}{sums[1]}"
    text += going_over * _draw_passes(rng, *settings.styles[style], settings.max_passes)
    answer = answer_of(digits)
    return Trace(f"{text} so{answer}", answer)


def _check(link: Link, digit: int) -> tuple[str, int]:
    """What a check says, and the digit after it: the other one where the one before does not fit."""
    opener = FORK_OPENER if len(link.options) > 1 else PLAIN_OPENER
    check = f"{opener}{digit}*{link.multiplier}={digit * link.multiplier % 10},{link.last_digit}"
    if link.fits(digit):
        return f"{check} ok", digit
    other = sum(link.options) - digit
    return f"{check} no alternatively{other}", other


def _draw_passes(rng: random.Random, first: float, further: float, limit: int) -> int:
    """How often a trace goes over its sums again."""
    passes, probability = 0, first
    while passes < limit and rng.random() < probability:
        passes, probability = passes + 1, further
    return passes


def boxed_answer(response: str) -> str | None:
    """The digits in the box after the think block; None where the response has none."""
    found = _ANSWER.findall(response)
    return found[-1] if found else None


def needed_tokens(level: int) -> float:
    """Mean length of the shortest responses that check every fork, of which half need a repair."""
    return SHORTEST + FORKS[level] * (CHECK + REPAIR / 2)


def fork_letters(problem_id: str) -> list[str]:
    """The letters of the links that are forks."""
    return re.findall(r"([a-z])\d\d\*", problem_id)


def best_accuracy(problem_id: str) -> float:
    """The probability of the right answer when every fork is checked: a half for each ambiguous fork."""
    forks = re.findall(r"(\d)(\d)\*(\d)=(\d)", problem_id)
    return 0.5 ** sum((int(a) - int(b)) * int(multiplier) % 10 == 0 for a, b, multiplier, _ in forks)


@dataclass(frozen=True)
class Step:
    """What a trace did at one link: its first digit, the number of checks, the digit that it ended with."""

    first: int
    checks: int
    last: int


def read_trace(response: str) -> list[Step]:
    """The steps of a response's trace; empty where it is none of the kind that traces have."""
    steps: list[Step] = []
    rest = re.sub("^ [a-z]+:", "", response.partition("</think>")[0])
    for letter in LETTERS:
        found = re.match(rf"{letter}(\d)((?: [a-z0-9*=:, ]*?(?:ok|no alternatively\d))*)(\d\d)", rest)
        if found is None:
            return []
        repairs = re.findall(r"alternatively(\d)", found[2])
        checks = len(re.findall(r"ok|no alternatively", found[2]))
        steps.append(Step(int(found[1]), checks, int(repairs[-1] if repairs else found[1])))
        rest = rest[found.end() :]
    return steps
