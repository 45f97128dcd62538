"""Bad input ends verl's own command with one clear message and exit code 1, before Ray starts.

The checks themselves run in this process, on configs composed as verl's command composes them; that the command comes
to them, and how it ends, is tried on a few.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rollout_server import CALCULATOR
from tiny_models import QWEN3

from lapo_verl.config import LapoConfig
from lapo_verl.cpu import WARM_PYTHON
from lapo_verl.doctor import preflight
from lapo_verl.doctor.compose import compose_config
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.preflight import check
from lapo_verl.hooks.checkpoint import open_store
from lapo_verl.objectives import objective
from lapo_verl.store import GroupRecord, LengthStore

Refusal = Callable[..., str]
DISCOVERY = objective("discovery")


def visit(problem: str) -> GroupRecord:
    """Four rollouts, one of them correct."""
    return GroupRecord(problem, (10, 20, 30, 40), (True, False, False, False))


def rows(n: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"{i}+1?"}],
            "data_source": "test",
            "reward_model": {"style": "rule", "ground_truth": str(i + 1)},
            "extra_info": {"index": i, "problem_id": f"p{i}"},
            **changes,
        }
        for i in range(n)
    ]


def write(path: Path, content: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(content), path)
    return path


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    """Of a run on good data."""
    return [
        "platform=cpu",
        f"data.train_files={write(tmp_path / 'train.parquet', rows(8))}",
        f"data.val_files={write(tmp_path / 'val.parquet', rows(2))}",
        f"actor_rollout_ref.model.path={QWEN3.save(tmp_path / 'model', weights=False)}",
        "trainer.default_local_dir=checkpoints",
    ]


@pytest.fixture
def refusal(tmp_path: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> Refusal:
    """``refusal(config, *changes)``: the message that the preflight check ends with."""
    importlib.import_module("lapo_verl.plugin")
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    monkeypatch.chdir(tmp_path)

    def run(config: str, *changes: str) -> str:
        with pytest.raises((ValueError, OSError, RuntimeError)) as caught:
            check(compose_config(config, [*overrides, *changes]))
        return str(caught.value)

    return run


def verl(
    folder: Path, config: str, *arguments: str, python: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python or os.environ[WARM_PYTHON], "-m", "verl.trainer.main_ppo", f"--config-name={config}", *arguments],
        cwd=folder,
        env={**os.environ, "VERL_PLATFORM": "cpu", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def ended_with(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("lapo: error:")]
    for word in words:
        assert word in message
    assert "ray init kwargs" not in done.stdout


def test_plugin_switched_off(tmp_path: Path, overrides: list[str]) -> None:
    off = {"VERL_USE_EXTERNAL_PLUGINS": "none", "VERL_PLATFORM": ""}
    done = verl(tmp_path, "lapo_discovery", *overrides[1:], python=sys.executable, **off)
    ended_with(done, "did not load LAPO's plugin", "VERL_USE_EXTERNAL_PLUGINS=none", "unset it")


def test_plugin_that_fails_to_load(tmp_path: Path, overrides: list[str]) -> None:
    """verl swallows the failure; the command must not."""
    broken = tmp_path / "sitecustomize.py"
    broken.write_text("import sys\nsys.modules['lapo_verl.plugin'] = None\n")
    broken_is_first = {"PYTHONPATH": str(tmp_path), "VERL_PLATFORM": ""}
    done = verl(tmp_path, "acc_only", *overrides[1:], python=sys.executable, **broken_is_first)
    ended_with(done, "plugin failed to load", "lapo_verl.plugin")


def test_command_ends_before_ray_starts(tmp_path: Path, overrides: list[str]) -> None:
    ended_with(verl(tmp_path, "lapo_discovery", *overrides, "data.train_files=gone.parquet"), "gone.parquet")


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("two\nlines"), RecursionError(), OSError()])
def test_no_exception_of_a_check_lets_a_run_pass(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Hydra only warns of an exception in a callback, and starts the training."""

    def check_something(run: preflight.Run) -> list[Finding]:
        raise error

    monkeypatch.setattr(preflight, "CHECKS", (check_something,))
    with pytest.raises(SystemExit) as caught:
        preflight.Preflight().on_job_start(compose_config("lapo_discovery", overrides))
    message = caught.value.code
    assert isinstance(message, str)
    assert type(error).__name__ in message or str(error) in message
    assert message.startswith("lapo: error: ") and len(message.splitlines()) == 1


def test_an_error_that_a_check_returns_ends_the_command(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "CHECKS", (lambda run: [Finding("error", "it cannot work")],))
    with pytest.raises(SystemExit, match="lapo: error: it cannot work"):
        preflight.Preflight().on_job_start(compose_config("lapo_discovery", overrides))


def test_good_input_passes(tmp_path: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("lapo_verl.plugin")
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    monkeypatch.chdir(tmp_path)
    content = [*rows(8), *rows(2)]
    write(tmp_path / "train.parquet", content)
    remark, *others = check(compose_config("lapo_discovery", overrides))
    assert remark.endswith(
        "train.parquet: 10 rows, 8 problems; 2 rows repeat a problem of the file, and are trained on as well"
    )
    assert others[-1].startswith("prompts are made by verl's QwenContinuousTokenBuilder: verl's choice for model_type")
    assert not [line for line in others if line.startswith("warning")]
    twice = f"data.train_files=[{tmp_path / 'train.parquet'},{tmp_path / 'train.parquet'}]"
    (remark, *_) = check(compose_config("lapo_discovery", [*overrides, twice]))
    assert remark.endswith("names the file 2 times, and each time counts")
    (warning, *_) = check(compose_config("lapo_discovery", [*overrides, "actor_rollout_ref.rollout.n=1"]))
    assert "actor_rollout_ref.rollout.n=1" in warning


def says(message: str, *words: str) -> None:
    for word in words:
        assert word in message


def test_missing_data_file(refusal: Refusal) -> None:
    says(refusal("lapo_discovery", "data.train_files=gone.parquet"), "gone.parquet: no such data file")


def test_empty_data_file(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "empty.parquet").touch()
    says(refusal("acc_only", "data.train_files=empty.parquet"), "empty.parquet", "empty")


def test_data_file_without_rows(refusal: Refusal, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows(1)).slice(0, 0), tmp_path / "none.parquet")
    says(refusal("lapo_discovery", "data.train_files=none.parquet"), "none.parquet: has no rows")


def test_missing_column(refusal: Refusal, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows(2)).drop_columns(["reward_model"]), tmp_path / "bad.parquet")
    says(refusal("lapo_discovery", "data.train_files=bad.parquet"), "bad.parquet", "column 'reward_model' is missing")


def test_row_without_ground_truth(refusal: Refusal, tmp_path: Path) -> None:
    content = [*rows(3), rows(1, reward_model={"style": "rule", "ground_truth": ""})[0]]
    write(tmp_path / "bad.parquet", content)
    says(refusal("lapo_discovery", "data.train_files=bad.parquet"), "bad.parquet, row 3", "ground_truth")


def test_row_without_prompt(refusal: Refusal, tmp_path: Path) -> None:
    content = [*rows(1), rows(1, prompt=[])[0]]
    write(tmp_path / "bad.parquet", content)
    says(refusal("lapo_discovery", "data.train_files=bad.parquet"), "bad.parquet, row 1", "prompt")


def test_a_system_turn_under_the_papers_prompt(refusal: Refusal, tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]
    write(tmp_path / "train.parquet", rows(1, prompt=turns))
    says(refusal("lapo_discovery", "lapo.prompt=paper"), "train.parquet, row 0", "'system'", "lapo.prompt=model")


def test_two_problems_with_one_id(refusal: Refusal, tmp_path: Path) -> None:
    content = [*rows(2), {**rows(3)[2], "extra_info": {"index": 2, "problem_id": "p0"}}]
    write(tmp_path / "bad.parquet", content)
    says(refusal("lapo_discovery", "data.train_files=bad.parquet"), "row 2", "'p0'")


def test_two_files_with_one_id(refusal: Refusal, tmp_path: Path) -> None:
    content = [{**rows(3)[2], "extra_info": {"index": 2, "problem_id": "p0"}}]
    other = write(tmp_path / "other.parquet", content)
    message = refusal("lapo_discovery", f"data.train_files=[{tmp_path / 'train.parquet'},{other}]")
    says(message, "other.parquet, row 0", "'p0'")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward_model": {"ground_truth": "2024-05-01"}}, "reward_model.ground_truth is read as a date"),
        ({"reward_model": '{"ground_truth": "1"}'}, "reward_model must be an object"),
        ({"extra_info": '{"index": 0}'}, "extra_info must be an object"),
        ({"reward_model": {"ground_truth": ["7"]}}, "reward_model.ground_truth is a list"),
    ],
)
def test_rows_that_a_reader_changes_end_the_command(
    changes: dict[str, Any], message: str, refusal: Refusal, tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(8, **changes)))
    says(refusal("lapo_discovery", f"data.train_files={path}"), f"{path}, row 0: {message}")


def test_a_column_of_prompts_with_another_name(refusal: Refusal, tmp_path: Path) -> None:
    content = [{**row, "messages": row["prompt"]} for row in rows(2)]
    for row in content:
        del row["prompt"]
    write(tmp_path / "train.parquet", content)
    says(refusal("lapo_discovery", "data.prompt_key=messages"), "data.prompt_key=messages is not supported", "'prompt'")


@pytest.mark.parametrize("config", ["lapo_discovery", "lapo_internalization", "acc_only"])
def test_rows_without_the_agent_loop_that_others_name(config: str, refusal: Refusal, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [*rows(6, agent_name="lapo_single_turn"), *rows(8, agent_name=None)[6:]])
    says(refusal(config), "training rows: agent_name is missing in 2 of 8 rows (25%)", "verl stops")


def test_guided_rows_that_name_another_agent_loop(refusal: Refusal, tmp_path: Path) -> None:
    loops = [*rows(7, agent_name="lapo_single_turn"), *rows(8, agent_name="tool_agent")[7:]]
    write(tmp_path / "train.parquet", loops)
    says(refusal("lapo_internalization"), "agent_name is 'tool_agent' in 1 of 8 rows (12%)", "Write lapo_tool_agent")
    write(tmp_path / "train.parquet", rows(8))
    write(tmp_path / "val.parquet", rows(2, agent_name="tool_agent"))
    guided = "lapo.guidance.validation=true"
    says(refusal("lapo_internalization", guided), "validation rows: agent_name is 'tool_agent' in 2 of 2 rows (100%)")


def test_other_agent_loops_where_nothing_is_appended(
    tmp_path: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("lapo_verl.plugin")
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    write(tmp_path / "train.parquet", rows(8, agent_name="tool_agent"))
    lines = check(compose_config("lapo_discovery", overrides))
    assert [line for line in lines if "warning" in line and "agent_name is 'tool_agent' in 8 of 8 rows" in line]


TOOL_LOOP = "actor_rollout_ref.rollout.agent.default_agent_loop=lapo_tool_agent"
TOOLS = f"actor_rollout_ref.rollout.multi_turn.function_tool_path={CALCULATOR}"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([TOOL_LOOP], ["lapo_tool_agent, and there are no tools", "multi_turn.function_tool_path"]),
        ([TOOLS], ["no row uses tools, the agent loop is lapo_single_turn", "default_agent_loop=lapo_tool_agent"]),
        ([TOOL_LOOP, TOOLS + ".gone"], ["calculator.py.gone: verl cannot load the tools"]),
        ([TOOL_LOOP, TOOLS, "actor_rollout_ref.rollout.multi_turn.format=pigeon"], ["format=pigeon", "hermes"]),
        (
            [TOOL_LOOP, TOOLS, "lapo.prompt=paper"],
            ["cannot write a tool's answer", "of the role 'tool'"],
        ),
    ],
)
def test_rollouts_with_tools_that_would_fail(refusal: Refusal, changes: list[str], words: list[str]) -> None:
    says(refusal("lapo_discovery", *changes), *words)


def test_rows_of_both_agent_loops_are_counted(
    tmp_path: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("lapo_verl.plugin")
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    loops = ["lapo_tool_agent"] * 3 + ["lapo_single_turn"] * 5
    content = [{**row, "agent_name": loop} for row, loop in zip(rows(8), loops, strict=True)]
    write(tmp_path / "train.parquet", content)
    lines = check(compose_config("lapo_discovery", [*overrides, TOOLS]))
    assert "training rows by agent loop: lapo_tool_agent 3, lapo_single_turn 5" in lines
    assert not [line for line in lines if "default_agent_loop" in line]


def test_a_final_turn_where_each_rollout_has_one(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("lapo_verl.plugin")
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    lines = check(compose_config("lapo_discovery", [*overrides, "lapo.length.scope=final_turn"]))
    assert [line for line in lines if "warning: lapo.length.scope=final_turn, and each rollout has one turn" in line]
    lines = check(compose_config("lapo_discovery", [*overrides, "lapo.length.scope=final_turn", TOOL_LOOP, TOOLS]))
    assert not [line for line in lines if "lapo.length.scope" in line or "default_agent_loop" in line]


def test_stage_two_without_a_store(refusal: Refusal) -> None:
    says(refusal("lapo_internalization"), "lapo_store.sqlite", "lapo.store", "set lapo.init_from")
    says(refusal("lapo_internalization", "lapo.init_from=gone.sqlite"), "gone.sqlite", "lapo.init_from")


def test_stage_two_from_a_folder_that_has_no_whole_checkpoint(
    overrides: list[str], refusal: Refusal, tmp_path: Path
) -> None:
    """The message is the same whether the folder is to give the model too, or the store alone."""
    named = "lapo.init_from=runs/a"
    own_model = next(override for override in overrides if override.startswith("actor_rollout_ref.model.path="))
    for changes in ([], [own_model]):
        overrides[:] = [override for override in overrides if override != own_model]
        (tmp_path / "runs" / "a").mkdir(parents=True)
        says(refusal("lapo_internalization", *changes, named), "runs/a", "has no checkpoint")
        (tmp_path / "runs" / "a" / "global_step_7" / "actor").mkdir(parents=True)
        says(refusal("lapo_internalization", *changes, named), "global_step_7 has no Hugging Face weights")
        shutil.rmtree(tmp_path / "runs")
    says(refusal("lapo_internalization"), "set lapo.init_from to the folder of the Discovery run")
    says(refusal("lapo_internalization", named), "lapo.init_from=runs/a: does not exist")
    LengthStore.open(tmp_path / "s.sqlite").close()
    says(refusal("lapo_internalization", "lapo.init_from=s.sqlite"), "s.sqlite", "has no weights")


def test_a_resumed_stage_two_keeps_what_it_began_with(overrides: list[str], refusal: Refusal, tmp_path: Path) -> None:
    overrides[:] = [override for override in overrides if not override.startswith("actor_rollout_ref.model.path=")]
    for step in (2, 3):
        weights = tmp_path / "runs" / "a" / f"global_step_{step}" / "actor" / "huggingface"
        (QWEN3.save(weights, weights=False) / "model.safetensors").touch()
        with LengthStore.open(weights.parents[1] / "lapo_store.sqlite") as store:
            store.record_step("discovery", step, [visit(f"p{i}") for i in range(8)], DISCOVERY)
    begun = LapoConfig(
        objective("internalization"), store=tmp_path / "s.sqlite", init_from=tmp_path / "runs" / "a" / "global_step_2"
    )
    checkpoint = tmp_path / "checkpoints" / "global_step_5"
    (checkpoint / "actor").mkdir(parents=True)
    with open_store(begun, None) as store:
        store.record_step("internalization", 5, [visit(f"p{i}") for i in range(8)], begun.objective)
        store.snapshot(checkpoint / "lapo_store.sqlite")
    (tmp_path / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("5")
    message = refusal("lapo_internalization", "lapo.init_from=runs/a")
    says(message, "began with step 2", "of step 3", "lapo.init_from=runs/a/global_step_2")
    lines = check(compose_config("lapo_internalization", [*overrides, "lapo.init_from=runs/a/global_step_2"]))
    says("\n".join(lines), "internalization starts from step 2")


def test_stage_two_with_an_empty_store(refusal: Refusal, tmp_path: Path) -> None:
    LengthStore.open(tmp_path / "empty.sqlite").close()
    says(refusal("lapo_internalization", "lapo.init_from=empty.sqlite"), "empty.sqlite", "is empty")


def test_stage_two_with_another_problem_set(refusal: Refusal, tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "other.sqlite") as store:
        store.record_step("discovery", 1, [visit(q) for q in ("p0", "x", "y", "z")], DISCOVERY)
    message = refusal("lapo_internalization", "lapo.init_from=other.sqlite")
    says(message, "other.sqlite", "another problem set", "75% unknown")


def test_a_short_stage_one_is_no_other_problem_set(
    tmp_path: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("lapo_verl.plugin")
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    monkeypatch.chdir(tmp_path)
    with LengthStore.open(tmp_path / "short.sqlite") as store:
        store.record_step("discovery", 1, [visit("p0")], DISCOVERY)
    lines = check(compose_config("lapo_internalization", [*overrides, "lapo.init_from=short.sqlite"]))
    assert any("knows 1 of the 8 training problems" in line for line in lines)


@pytest.mark.parametrize("config", ["lapo_internalization", "lapo_discovery"])
def test_a_store_whose_lengths_count_other_tokens(
    config: str, refusal: Refusal, overrides: list[str], tmp_path: Path
) -> None:
    """Stage 2 of a store of stage 1, and a resume."""
    folder = tmp_path / "checkpoints" / "global_step_1"
    of_stage_one = folder / "lapo_store.sqlite"
    (folder / "actor").mkdir(parents=True)
    with LengthStore.open(of_stage_one) as store:
        store.begin_run("discovery", DISCOVERY, {"length_scope": "response"})
        store.record_step("discovery", 1, [visit(f"p{i}") for i in range(8)], DISCOVERY)
    changes = [f"lapo.init_from={of_stage_one}"]
    if config == "lapo_discovery":
        (folder.parent / "latest_checkpointed_iteration.txt").write_text("1")
        changes = []
    message = refusal(config, *changes, "lapo.length.scope=think")
    assert "lapo.length.scope=response in the run discovery, this run has lapo.length.scope=think" in message
    assert str(of_stage_one) in message
    check(compose_config(config, [*overrides, *changes]))


def test_stage_two_with_dataloader_workers(refusal: Refusal) -> None:
    says(refusal("lapo_internalization", "data.dataloader_num_workers=2"), "data.dataloader_num_workers=2", "needs 0")


def test_value_out_of_range(refusal: Refusal) -> None:
    says(refusal("lapo_discovery", "lapo.objective.alpha=-1"), "lapo.objective", "discovery", "alpha", "-1")


def test_too_few_logical_cpus(refusal: Refusal) -> None:
    says(refusal("lapo_discovery", "ray_kwargs.ray_init.num_cpus=2"), "2 logical CPUs", "ray_kwargs.ray_init.num_cpus=")


def test_a_run_that_joins_a_cluster(refusal: Refusal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    says(
        refusal("lapo_discovery"), "num_cpus=32", "joins the Ray at 10.0.0.1:6379", "ray_kwargs.ray_init.num_cpus=null"
    )
    sizes = ("ray_kwargs.ray_init.num_cpus=null", "ray_kwargs.ray_init.num_gpus=null")
    says(
        refusal("lapo_discovery", *sizes), "default_local_dir=checkpoints is a relative path", f"{tmp_path}/checkpoints"
    )


def test_platform_and_environment_differ(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERL_PLATFORM", "")
    says(refusal("lapo_discovery"), "VERL_PLATFORM=cpu")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_output_folder(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    says(refusal("lapo_discovery", "trainer.default_local_dir=locked/run"), "locked/run", "cannot be written to")


def test_output_folder_that_cannot_be(refusal: Refusal) -> None:
    message = refusal("lapo_discovery", "trainer.default_local_dir=train.parquet/run")
    says(message, "train.parquet/run", "default_local_dir")


@pytest.mark.parametrize("module", ["vllm", "transfer_queue"])
def test_packages_that_are_not_installed(refusal: Refusal, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find_spec(name))
    says(refusal("lapo_discovery"), "is not installed", "pip install")


def checkpoint(folder: Path, step: int, run: str = "discovery", problem: str = "p{}") -> Path:
    """A checkpoint of verl's with a store's snapshot of 8 problems."""
    place = folder / f"global_step_{step}"
    (place / "actor").mkdir(parents=True)
    (folder / "latest_checkpointed_iteration.txt").write_text(str(step))
    with LengthStore.open(folder / "lapo_store.sqlite") as store:
        store.record_step(run, step, [visit(problem.format(i)) for i in range(8)], objective(run))
        store.snapshot(place / "lapo_store.sqlite")
    return place


def test_a_checkpoint_that_is_not_there(refusal: Refusal, tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoints", 10)
    resume = ("trainer.resume_mode=resume_path", "trainer.resume_from_path=checkpoints/global_step_2")
    says(refusal("lapo_discovery", *resume), "global_step_2: no such checkpoint", "there are global_step_10")


@pytest.mark.parametrize("config", ["lapo_internalization", "acc_only"])
def test_started_in_the_folder_of_another_stage(config: str, refusal: Refusal, tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoints", 10)
    says(refusal(config), "global_step_10: is a checkpoint of discovery", "trainer.default_local_dir")


def test_resumed_on_other_data(tmp_path: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("lapo_verl.plugin")
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    monkeypatch.chdir(tmp_path)
    place = checkpoint(tmp_path / "checkpoints", 10)
    assert not other_data(check(compose_config("lapo_discovery", overrides)))
    (place / "lapo_store.sqlite").unlink()
    (tmp_path / "checkpoints" / "lapo_store.sqlite").unlink()
    place.joinpath("actor").rmdir()
    place.rmdir()
    checkpoint(tmp_path / "checkpoints", 10, problem="other{}")
    (warning,) = other_data(check(compose_config("lapo_discovery", overrides)))
    assert "global_step_10: was made on other data: lapo_store.sqlite has 8 problems" in warning
    assert "data.train_files has 8, and they share 0" in warning
    # What only validates needs no store.
    only = [*overrides, "trainer.val_only=true"]
    assert not other_data(check(compose_config("lapo_internalization", only)))


def other_data(lines: list[str]) -> list[str]:
    return [line for line in lines if "was made on other data" in line]


@pytest.mark.parametrize("key", ["trainer.default_local_dir", "data.train_files", "data.val_files"])
def test_a_path_with_a_tilde(key: str, refusal: Refusal) -> None:
    says(refusal("lapo_discovery", f"{key}='~/x'"), f"{key}=~/x", str(Path.home() / "x"))


def test_a_store_that_has_gone_on_to_stage_two(
    tmp_path: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("lapo_verl.plugin")
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    monkeypatch.chdir(tmp_path)
    checkpoint(tmp_path / "one", 10)
    checkpoint(tmp_path / "one", 3, run="internalization")
    lines = check(compose_config("lapo_internalization", [*overrides, "lapo.init_from=one/lapo_store.sqlite"]))
    assert "one/lapo_store.sqlite: has 1 steps of internalization as well; this run starts without them" in lines


def test_a_sweep_whose_jobs_share_a_folder(tmp_path: Path, overrides: list[str]) -> None:
    done = verl(tmp_path, "lapo_discovery", "-m", *overrides, "lapo.objective.alpha=0.3,0.7")
    ended_with(done, "trainer.default_local_dir=checkpoints is the same", "<folder>/${lapo.objective.alpha}")
