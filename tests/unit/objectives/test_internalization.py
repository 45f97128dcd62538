import math

import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

ONE_SIGMA = 1 + 0.7 * math.exp(-0.5)


def test_the_reward_is_a_gaussian_around_the_target() -> None:
    groups = Groups.of(correct=[[True, True, False]], lengths=[[500, 620, 500]], target=[500])
    assert objective("internalization").rewards(groups)[0] == pytest.approx([1.7, ONE_SIGMA, 0])


def test_the_reward_is_around_the_number_that_the_prompt_named() -> None:
    groups = Groups.of(correct=[[True, True]], lengths=[[500, 620]], target=[512], prompt_budget=[500])
    assert objective("internalization").rewards(groups)[0] == pytest.approx([1.7, ONE_SIGMA])


def test_an_unsolved_problem_is_rewarded_around_its_own_statistic() -> None:
    # Correct 100 and 340: the median 220 is one sigma from both. The prompt named the response limit.
    groups = Groups.of(correct=[[True, False, True]], lengths=[[100, 4096, 340]], prompt_budget=[4096])
    assert objective("internalization").rewards(groups)[0] == pytest.approx([ONE_SIGMA, 0, ONE_SIGMA])
    assert objective("internalization", statistic="minimum").rewards(groups)[0][0] == 1.7


def test_a_target_only_falls() -> None:
    groups = Groups.of(
        correct=[[True, True], [True, True], [False, False], [True, False], [False]],
        lengths=[[80, 90], [80, 90], [1, 2], [70, 1], [5]],
        target=[100, 50, 40, None, None],
    )
    np.testing.assert_array_equal(objective("internalization").update(groups), [85, 50, 40, 70, np.nan])


def test_degenerate_groups() -> None:
    # One correct, none, all of one length, one rollout; all unsolved before.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, True], [True]], lengths=[[300, 200], [1, 2], [7, 7], [50]]
    )
    np.testing.assert_array_equal(
        objective("internalization").rewards(groups), groups.masked([[1.7, 0], [0, 0], [1.7, 1.7], [1.7, 1.7]])
    )


def test_metrics_tell_visits_with_and_without_guidance_apart() -> None:
    groups = Groups.of(
        correct=[[True, True, False], [True], [True], [True]],
        lengths=[[90, 120, 900], [150], [40], [8]],
        target=[100, 200, None, 0],
        prompt_budget=[100, None, None, None],
    )
    internalization = objective("internalization", beta=0)
    metrics = internalization.metrics(groups, internalization.rewards(groups))
    gaussians = [math.exp(-((off / 120) ** 2) / 2) for off in (10, 20, 50, 0, 8)]
    assert metrics == pytest.approx(
        {
            "guided_share": 0.25,
            "length_reward": sum(gaussians) / 5,
            "in_band_share": 3 / 5,  # 90 and 120 are outside of [99, 111]
            "adherence_tokens": 15,
            "adherence_relative": 0.15,
            "unguided_adherence_tokens": 50,
            "unguided_adherence_relative": 0.25,
        }
    )


def test_the_prompt_names_the_target() -> None:
    internalization = objective("internalization")
    assert internalization.prompt_budget(512.5, 4096, draw=0.3) == 512.5
    assert internalization.prompt_budget(None, 4096, draw=0.3) is None
    assert internalization.names_budget and internalization.keeps_targets


def test_a_prompt_may_guide_without_a_number() -> None:
    groups = Groups.of(correct=[[True]], lengths=[[110]], target=[100], guided=[True])
    metrics = objective("internalization").metrics(groups, objective("internalization").rewards(groups))
    assert (metrics["guided_share"], metrics["adherence_tokens"]) == (1, 10)
    assert "unguided_adherence_tokens" not in metrics
