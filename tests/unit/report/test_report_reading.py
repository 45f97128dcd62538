"""Reading dumps, logs and folders: what can be used is used, the rest is named as left out."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lapo_verl.runs.dumps import read_metrics, read_samples, read_text
from lapo_verl.runs.folder import RunError, dumps_of, find_base, labels, named_paths, read_run
from lapo_verl.runs.jsonl import DumpError

ROW = {
    "problem_id": "p",
    "level": "2",
    "acc": 1.0,
    "tokens": 7,
    "truncated": 0.0,
    "input": "q",
    "output": "wait",
    "gts": "4",
}


def write(path: Path, *rows: object, tail: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode() + tail)
    return path


def without(*names: str) -> dict[str, object]:
    return {name: value for name, value in ROW.items() if name not in names}


def test_samples_of_lapo_eval_are_read(tmp_path: Path) -> None:
    row = without("input", "output", "gts") | {"checkpoint": "lapo_i", "benchmark": "aime", "response": "thus"}
    told = row | {"condition": "conflict=500", "prompt": [{"role": "user", "content": "q"}]}
    plain, conflict = read_samples(write(tmp_path / "samples.jsonl", row | {"condition": ""}, told))
    assert (plain.checkpoint, plain.benchmark, plain.keywords) == ("lapo_i", "aime", (0, 0, 0, 1))
    assert conflict.checkpoint == "lapo_i conflict=500"
    text = read_text(tmp_path / "samples.jsonl", conflict.offset)
    assert (json.loads(text.prompt)[0]["content"], text.response) == ("q", "thus")


def test_a_text_is_found_again_by_its_offset(tmp_path: Path) -> None:
    # Characters of several bytes, and ends of lines for str.splitlines that JSON leaves as they are.
    responses = ["é\u2028\u0085x", "\u2029", "plain"]
    path = write(tmp_path / "0.jsonl", *(ROW | {"output": response} for response in responses))
    samples = read_samples(path)
    assert [read_text(path, sample.offset).response for sample in samples] == responses


def test_what_a_plain_verl_dump_lacks_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "0.jsonl", without("tokens"), ROW, without("tokens"))
    with pytest.raises(DumpError, match="line 1: no field 'tokens'"):
        read_samples(path)
    left_out: list[str] = []
    assert len(read_samples(path, left_out)) == 1
    assert left_out == [f"{path}: 2 of 3 rows, the first in line 1: no field 'tokens'"]


def test_fields_that_may_be_missing(tmp_path: Path) -> None:
    row = without("problem_id", "acc", "level", "truncated", "output") | {"score": 1.0}
    first, again, other = read_samples(write(tmp_path / "0.jsonl", row, row, row | {"input": "another"}))
    assert first.correct and first.level is None and first.truncated is None and first.keywords is None
    assert first.problem == again.problem != other.problem  # told apart by their prompts


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", "is not an object"),
        (without("problem_id", "input"), "no field 'problem_id'"),
        (ROW | {"tokens": "many"}, "field 'tokens' is not a number"),
        (ROW | {"tokens": float("nan")}, "field 'tokens' is not a number"),
        (ROW | {"tokens": -1}, "field 'tokens' is not a number"),
        (ROW | {"tokens": 10**400}, "field 'tokens' is not a number"),
        (ROW | {"acc": None}, "no field 'acc'"),
        ("[" * 100_000, "not JSON"),
        ("{half a", "not JSON"),
    ],
)
def test_a_row_that_is_no_sample_is_left_out(tmp_path: Path, line: object, reason: str) -> None:
    path = write(tmp_path / "0.jsonl", line, ROW)
    left_out: list[str] = []
    assert len(read_samples(path, left_out)) == 1
    assert len(left_out) == 1 and reason in left_out[0] and "line 1" in left_out[0]
    with pytest.raises(DumpError, match=reason):
        read_samples(path)


@pytest.mark.parametrize("tail", [b'{"problem_', b'{"problem_id": "\xc3'])
def test_a_last_line_that_was_cut_off_is_left_out_and_said(tmp_path: Path, tail: bytes) -> None:
    path = write(tmp_path / "0.jsonl", ROW, ROW, tail=tail)
    left_out: list[str] = []
    assert len(read_samples(path, left_out)) == 2
    assert left_out == [f"{path}, line 3: the last line was cut off and is left out"]
    assert len(read_samples(path)) == 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
ROWS = st.fixed_dictionaries({}, optional={name: VALUES for name in (*ROW, "checkpoint", "condition", "benchmark")})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=20) | ROWS.map(lambda row: json.dumps(ROW | row).encode()), max_size=5))
def test_any_file_is_read_or_refused_with_a_reason(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("any") / "0.jsonl"
    path.write_bytes(b"\n".join(lines))
    left_out: list[str] = []
    try:
        samples = read_samples(path, left_out)
    except DumpError as error:
        assert str(path) in str(error)
    else:
        assert all(sample.tokens >= 0 for sample in samples)
        for sample in samples:
            read_text(path, sample.offset)


def test_the_last_output_of_a_session_is_the_sample(tmp_path: Path) -> None:
    # verl's uid is {prompt}_{session}_{index}; other texts under that name are left alone.
    uids = ["p_0_0", "p_0_1", "p_1_0", "q_0_0", "same", "same", "a_b_c", "a_b_d"]
    path = write(tmp_path / "0.jsonl", *(ROW | {"uid": uid, "tokens": n} for n, uid in enumerate(uids)))
    assert [sample.tokens for sample in read_samples(path)] == [1, 2, 3, 4, 5, 6, 7]


def test_empty_lines_are_no_rows(tmp_path: Path) -> None:
    left_out: list[str] = []
    assert len(read_samples(write(tmp_path / "0.jsonl", ROW, "", ROW, ""), left_out)) == 2
    assert left_out == []


def test_a_dump_without_any_sample_says_why(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match=r"no samples: no field 'tokens'"):
        read_samples(write(tmp_path / "0.jsonl", without("tokens")), [])


def test_the_progress_adds_up_to_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "0.jsonl", *[ROW | {"output": "x" * 10_000}] * 250)
    seen: list[int] = []
    read_samples(path, progress=seen.append)
    assert len(seen) > 2
    assert sum(seen) == path.stat().st_size


def test_other_rows_and_texts_in_a_log_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.jsonl", {"step": 1, "data": {"a": 1, "b": "text", "c": float("nan")}}, {"x": 1})
    left_out: list[str] = []
    assert read_metrics([path], left_out) == {1: {"a": 1.0}}
    assert len(left_out) == 1 and "line 2" in left_out[0]
    with pytest.raises(DumpError, match="line 2"):
        read_metrics([path])


def test_a_recorded_training(recorded: Path) -> None:
    left_out: list[str] = []
    run = read_run("d", recorded / "discovery", left_out)
    assert [checkpoint.step for checkpoint in run.checkpoints] == [0, 4, 12]
    assert [checkpoint.step for checkpoint in run.shown] == [0, 12]
    assert list(run.metrics) == list(range(13)) and run.store is None
    assert {len(c.benchmarks["validation"]) for c in run.checkpoints} == {60}
    assert left_out == []
    second = read_run("i", recorded / "internalization", left_out)
    assert second.store == recorded / "internalization" / "lapo_store.sqlite"
    assert list(labels([run, second])) == ["d step 0", "d step 12", "i step 4", "i step 8"]


def test_a_run_may_be_one_file(recorded: Path) -> None:
    left_out: list[str] = []
    dump = read_run("x", recorded / "discovery" / "validation" / "4.jsonl", left_out)
    assert list(labels([dump])) == ["x"]
    log = read_run("x", recorded / "discovery" / "metrics.jsonl", left_out)
    assert log.metrics and not log.checkpoints
    store = read_run("x", recorded / "internalization" / "lapo_store.sqlite", left_out)
    assert store.store and not store.checkpoints
    assert left_out == []


def test_checkpoints_of_an_evaluation_are_models(tmp_path: Path) -> None:
    rows = [ROW | {"checkpoint": name, "benchmark": b} for name in ("base", "lapo_i", "lapo_d") for b in ("m", "a")]
    write(tmp_path / "eval" / "samples.jsonl", *rows)
    write(tmp_path / "other" / "samples.jsonl", rows[0])
    evaluation = read_run("eval", tmp_path / "eval", [])
    assert list(labels([evaluation])) == ["base", "lapo_i", "lapo_d"]
    assert all(list(c.benchmarks) == ["m", "a"] for c in evaluation.checkpoints)
    other = read_run("other", tmp_path / "other", [])
    models = labels([other, evaluation])
    assert list(models) == ["other", "eval base", "eval lapo_i", "eval lapo_d"]
    assert find_base(None, [other, evaluation], models) == "other"
    assert find_base("eval", [other, evaluation], models) == "eval base"
    assert find_base("eval lapo_d", [other, evaluation], models) == "eval lapo_d"
    with pytest.raises(RunError, match=r"--base lapo_x: .* there are other, eval, other, eval base"):
        find_base("lapo_x", [other, evaluation], models)


def test_names_of_runs(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    named = named_paths(["base=runs/x", "runs/y/", "runs/z.jsonl", str(tmp_path / "a=b"), "runs/v=1"])
    assert list(named) == ["base", "y", "z", "a=b", "v=1"]
    with pytest.raises(RunError, match="two runs are called 'eval'"):
        named_paths(["a/eval", "b/eval"])


def test_what_cannot_be_used_of_a_run_is_said(recorded: Path, tmp_path: Path) -> None:
    left_out: list[str] = []
    assert read_run("gone", tmp_path / "gone", left_out).empty
    assert "gone: there is no" in left_out[-1]
    assert read_run("all", recorded, left_out).empty
    assert f"give its subfolders instead: {recorded / 'discovery'} {recorded / 'internalization'}" in left_out[-1]
    damaged = recorded / "internalization"
    (damaged / "lapo_store.sqlite").write_bytes(b"no store" * 100)
    shutil.rmtree(damaged / "validation")
    (damaged / "validation" / "4.jsonl").mkdir(parents=True)
    left_out.clear()
    run = read_run("i", damaged, left_out)
    assert run.metrics and run.store is None and not run.checkpoints
    assert any("lapo_store.sqlite" in sentence for sentence in left_out)
    assert any("4.jsonl" in sentence for sentence in left_out)


def test_dumps_come_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (10, 9, 100):
        write(tmp_path / "validation" / f"{step}.jsonl", ROW)
    write(tmp_path / "validation" / "notes.jsonl", ROW)
    assert [path.stem for path in dumps_of(tmp_path)] == ["9", "10", "100"]
