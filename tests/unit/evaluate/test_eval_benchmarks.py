import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from eval_inputs import problem, write_rows

from lapo_verl.data.rows import check_rows
from lapo_verl.evaluate import EvalError
from lapo_verl.evaluate.benchmarks import questions, read_benchmark, write_questions
from lapo_verl.evaluate.conditions import Condition

PLAIN = Condition()
CONFLICT = Condition("conflict=500", " Please answer the question with 500 tokens.")


def test_files_that_differ_go_into_one(tmp_path: Path, sums: Path, products: Path) -> None:
    """Truths as text and as numbers, levels as numbers, as text and none at all."""
    named = write_rows(tmp_path / "named.jsonl", [problem("hard?", "5", level="hard", source={"year": 2024})])
    asked = [
        question
        for name, path in (("sums", sums), ("products", products), ("named", named))
        for question in questions(read_benchmark(name, path, "lapo"), PLAIN, n=2)
    ]
    write_questions(asked, tmp_path / "all.parquet")
    rows = pq.read_table(tmp_path / "all.parquet").to_pylist()
    assert len(rows) == len(asked) == 2 * (3 + 2 + 1)
    assert [row["reward_model"]["ground_truth"] for row in rows[::2]] == ["1", "2", "3", "0", "2", "5"]
    assert [row["extra_info"]["level"] for row in rows[::2]] == ["0", "1", "2", None, None, "hard"]
    assert rows[10]["extra_info"]["source"] == {"year": 2024}, "a score function of one's own may read it"
    # verl's own ids and our checks of a data file hold.
    assert len(check_rows(tmp_path / "all.parquet")) == 12


def test_the_conflicting_instruction_stands_behind_the_users_last_turn(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "2 + 2?"},
    ]
    file = write_rows(tmp_path / "turns.jsonl", [{**problem("", "4", problem_id="p"), "prompt": turns}])
    asked = list(questions(read_benchmark("turns", file, "lapo"), CONFLICT, n=1))
    write_questions(asked, tmp_path / "out.parquet")
    (row,) = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [message["content"] for message in row["prompt"]] == [
        "1 + 1?",
        "2",
        "2 + 2? Please answer the question with 500 tokens.",
    ]
    assert asked[0].problem_id == "p"
    assert asked[0].row["prompt"][-1]["content"] == "2 + 2?", "the other conditions read the same row"


def test_a_prompt_without_a_users_turn_is_named(tmp_path: Path) -> None:
    row = {**problem("", "4", problem_id="p7"), "prompt": [{"role": "system", "content": "Be brief."}]}
    benchmark = read_benchmark("odd", write_rows(tmp_path / "odd.jsonl", [row]), "lapo")
    with pytest.raises(EvalError, match="benchmark odd, problem p7: the prompt has no user turn"):
        write_questions(list(questions(benchmark, CONFLICT, n=1)), tmp_path / "out.parquet")


def test_types_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.jsonl", [problem("a", year=2024)])
    two = write_rows(tmp_path / "two.jsonl", [problem("b", year={"from": 2024})])
    asked = [q for path in (one, two) for q in questions(read_benchmark(path.stem, path, "lapo"), PLAIN, n=1)]
    with pytest.raises(EvalError, match="one, two cannot be put into one file"):
        write_questions(asked, tmp_path / "out.parquet")


def test_exact_duplicates_count_once(tmp_path: Path) -> None:
    row = {key: value for key, value in problem("1 + 1", "2").items() if key != "extra_info"}
    assert len(read_benchmark("twins", write_rows(tmp_path / "twins.jsonl", [row, row]), "lapo").problems) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"question": "1 + 1", "answer": "2"}], "column 'prompt' is missing; it has: question, answer"),
        ([problem("x", "")], r"row 0: reward_model.ground_truth is missing"),
        ([problem("x", "1", problem_id="p"), problem("y", "2", problem_id="p")], "row 1: another problem"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(EvalError, match=rf"bad\.jsonl.*{message}"):
        read_benchmark("bad", write_rows(tmp_path / "bad.jsonl", rows), "lapo")


def test_another_verifier_reads_its_own_ground_truths(tmp_path: Path) -> None:
    truth = json.dumps({"tests": ["f(1) == 2"]})
    pq.write_table(
        pa.Table.from_pylist([problem("write f", f"\\begin{{cases}}{truth}", problem_id="f")]), tmp_path / "f.parquet"
    )
    assert len(read_benchmark("f", tmp_path / "f.parquet", "custom").problems) == 1


def test_a_budget_reaches_the_agent_loop_by_its_column(tmp_path: Path, sums: Path) -> None:
    benchmark = read_benchmark("sums", sums, "lapo")
    asked = [
        *questions(benchmark, Condition("budget=20", prefill=" In 20 tokens."), n=1),
        *questions(benchmark, PLAIN, n=1),
    ]
    write_questions(asked, tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["lapo"]["guidance"] for row in rows] == [" In 20 tokens."] * 3 + [""] * 3
    assert rows[0]["prompt"] == rows[3]["prompt"]
