"""A few problems with the responses of all models side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from lapo_verl.report.numbers import Numbers
from lapo_verl.report.page import Answer, Example
from lapo_verl.runs.dumps import Sample, read_text
from lapo_verl.runs.folder import Checkpoint

# Characters of a text that are shown: its beginning and its end.
HEAD, TAIL = 3000, 1500


def choose_examples(numbers: Numbers) -> Iterator[Example]:
    """The problems whose length changed most, least and in the middle, and those asked for; of each model the response
    of median length."""
    if not numbers.benchmarks:
        return
    answered = [name for name, model in numbers.models.items() if model.benchmarks]
    first = numbers.base if numbers.base in answered else answered[0]
    wanted: dict[tuple[str, str], str] = {}
    for problem in numbers.options.problems:
        places = [name for name in numbers.benchmarks if any(_has(m, name, problem) for m in numbers.models.values())]
        wanted.update({(benchmark, problem): "asked for" for benchmark in places})
    benchmark = next(iter(numbers.models[first].benchmarks))
    others = [name for name, model in numbers.models.items() if name != first and benchmark in model.benchmarks]
    before = _shown(numbers.models[first].benchmarks[benchmark])
    after = _shown(numbers.models[others[-1]].benchmarks[benchmark]) if others else {}
    lengths = {
        problem: (after[problem].tokens if others else 0) - sample.tokens
        for problem, sample in before.items()
        if problem in after or not others
    }
    ranked = sorted(lengths, key=lambda problem: lengths[problem])
    if ranked:
        remarks = ["longest", "of median length", "shortest"]
        if others:
            change = f"by {others[-1]} against {first}"
            remarks = [f"shortened most {change}", f"change of median size {change}", f"shortened least {change}"]
        for position, remark in zip((0, len(ranked) // 2, len(ranked) - 1), remarks, strict=True):
            wanted.setdefault((benchmark, ranked[position]), remark)
    for (name, problem), remark in wanted.items():
        yield _example(numbers, name, problem, remark)


def _example(numbers: Numbers, benchmark: str, problem: str, remark: str) -> Example:
    answers = []
    prompt = ground_truth = ""
    for name, model in numbers.models.items():
        if not _has(model, benchmark, problem):
            continue
        samples = [sample for sample in model.benchmarks[benchmark] if sample.problem == problem]
        sample = _shown(samples)[problem]
        text = read_text(model.dump, sample.offset)
        prompt, ground_truth = prompt or text.prompt, ground_truth or text.ground_truth
        answers.append(Answer(name, _remark(sample, samples), _shortened(text.response)))
    return Example(f"{benchmark}, problem {problem} ({remark})", _shortened(prompt), _shortened(ground_truth), answers)


def _shown(samples: Iterable[Sample]) -> dict[str, Sample]:
    """{problem: its sample of median length}."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.problem].append(sample)
    return {
        problem: sorted(group, key=lambda each: each.tokens)[(len(group) - 1) // 2] for problem, group in groups.items()
    }


def _has(model: Checkpoint, benchmark: str, problem: str) -> bool:
    return any(sample.problem == problem for sample in model.benchmarks.get(benchmark, ()))


def _remark(sample: Sample, samples: list[Sample]) -> str:
    cut = ", cut off" if sample.truncated else ""
    right = sum(each.correct for each in samples)
    verdict = "correct" if sample.correct else "wrong"
    return f"{verdict}, {sample.tokens:,} tokens{cut}; of median length among {len(samples)} samples, {right} correct"


def _shortened(text: str) -> str:
    if len(text) <= HEAD + TAIL:
        return text
    return f"{text[:HEAD]}\n[… {len(text) - HEAD - TAIL:,} characters left out …]\n{text[-TAIL:]}"
