"""An advantage of an author's own: its parameters, its values, and the checks at every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guide_steps import write_files
from score_groups import group_of, one_number_a_sample

from rlpost.advantage import advantage_of
from rlpost.errors import PluginError
from rlpost.interfaces import AdvantageFn
from rlpost.recipe.rl import AdvantageConfig


def of_the_guide(folder: Path, **params: Any) -> AdvantageFn:
    write_files("write-an-algorithm.md", folder)
    return advantage_of(AdvantageConfig(scheme=f"{folder}/opo.py:optimal_baseline", params=params))


def test_the_advantage_of_the_guide_weighs_long_responses_more(tmp_path: Path) -> None:
    groups = [group_of([1.0, 0.0], lengths=[3, 1]), group_of([0.5]), group_of([])]
    first, second, third = of_the_guide(tmp_path)(groups)
    assert one_number_a_sample(first).tolist() == [0.25, -0.75]
    assert [values_T.tolist() for values_T in second] == [[0.0, 0.0]]
    assert third == []


def test_a_parameter_of_the_recipe_reaches_the_function(tmp_path: Path) -> None:
    (advantages_GT,) = of_the_guide(tmp_path, power=0)([group_of([1.0, 0.0], lengths=[3, 1])])
    assert one_number_a_sample(advantages_GT).tolist() == [0.5, -0.5]


def test_penalties_are_taken_off_the_rewards(tmp_path: Path) -> None:
    (advantages_GT,) = of_the_guide(tmp_path)([group_of([1.0, 1.0], penalties=[[0.25, 0.25], [0.0, 0.0]])])
    assert one_number_a_sample(advantages_GT).tolist() == [-0.25, 0.25]


def test_what_is_not_finite_at_a_later_step_is_named(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "import numpy as np\n"
        "def mine(groups, /):\n"
        "    return [[np.full(len(p), np.log(s)) for s, p in zip(g.scores_G, g.penalties_GT)] for g in groups]\n"
    )
    advantage = advantage_of(AdvantageConfig(scheme=f"{own}:mine"))
    assert advantage([group_of([1.0])])[0][0].tolist() == [0.0, 0.0]
    with np.errstate(divide="ignore"), pytest.raises(PluginError, match=r"token of sample 1 of group 2; found -inf"):
        advantage([group_of([1.0]), group_of([]), group_of([1.0, 0.0])])


def test_numbers_of_another_type_become_floats(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "import numpy as np\n"
        "def mine(groups, /):\n"
        "    return tuple([np.ones(len(p), np.int32) for p in g.penalties_GT] for g in groups)\n"
    )
    [[advantages_T]] = advantage_of(AdvantageConfig(scheme=f"{own}:mine"))([group_of([1.0])])
    assert advantages_T.dtype == np.float64
    assert advantages_T.tolist() == [1.0, 1.0]
