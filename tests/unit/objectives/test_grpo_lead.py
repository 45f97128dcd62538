import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


def test_golden_group() -> None:
    expected = [1.05135274109, 1.03945482971, -1, 1.00456289297, 0.981954743122, -1, 0.927635420007, -1]
    assert objective("grpo_lead", gate=0).rewards(A)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("gate", "decays"), [(999, True), (1000, False), (4000, False)])
def test_the_gate_takes_the_three_shortest_of_any_correctness(gate: float, decays: bool) -> None:
    # 800, 1000 and 1200 tokens, the last of them wrong.
    grpo_lead = objective("grpo_lead", gate=gate)
    rewards = grpo_lead.rewards(A)
    assert (rewards[0].tolist() == [1, 1, -1, 1, 1, -1, 1, -1]) != decays
    assert grpo_lead.metrics(A, rewards)["above_gate_share"] == decays


def test_degenerate_groups() -> None:
    # One correct, none, all of one length, one rollout; two rollouts are enough for the gate.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, True], [True], [True, True]],
        lengths=[[10, 20], [10, 20], [10, 10], [10], [10, 20]],
    )
    rewards = objective("grpo_lead", gate=9, alpha=np.sqrt(2)).rewards(groups)
    expected = groups.masked([[1, -1], [-1, -1], [1, 1], [1, 0], [np.e, 1 / np.e]])
    np.testing.assert_allclose(rewards, expected, rtol=1e-6)
    assert objective("grpo_lead", gate=15).rewards(groups)[4].tolist() == [1, 1]


def test_a_wrong_rollout_may_be_any_number_of_deviations_off() -> None:
    groups = Groups.of(correct=[[True, True, False]], lengths=[[100_000, 100_000, 1]])
    assert objective("grpo_lead", gate=0).rewards(groups).tolist() == [[1, 1, -1]]
