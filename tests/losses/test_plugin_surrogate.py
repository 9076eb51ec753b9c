"""A loss of an author's own inside the policy loss: its value, and its way to another process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from loss_inputs import gradient_by_autograd, gradient_by_differences, inputs_of

from rlpost.errors import PluginError
from rlpost.losses.cispo import Cispo
from rlpost.losses.plugin_surrogate import PluginSurrogate, plugin_surrogate
from rlpost.losses.policy_loss import PolicyLoss, policy_loss_of
from rlpost.recipe.rl import PluginLossConfig
from rlpost.recipe.stages import GrpoStage

CISPO_AGAIN = """
from __future__ import annotations
from torch import Tensor
from rlpost.losses.authoring import LossInputs, SurrogateTokens, ratios_of, surrogate

@surrogate(columns=["advantages_T"])
def again(inputs: LossInputs, *, log_ratios_T: Tensor, cap: float = 5.0) -> SurrogateTokens:
    ratios_T = ratios_of(log_ratios_T.detach())
    losses_T = -ratios_T.clamp(max=cap) * inputs["advantages_T"] * inputs.logprobs_T
    return SurrogateTokens(losses_T, ratios_T > cap)
"""
INPUTS = inputs_of([-1.0, -0.1, -2.0], rows=[0, 0, 1], advantages=[1.0, 1.0, -2.0], behaviour=[-1.2, -1.5, -1.0])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CISPO_AGAIN)
    return path


def surrogate_of(file: Path, **params: Any) -> PluginSurrogate:
    return plugin_surrogate(PluginLossConfig(kind=f"{file}:again", params=params))


def loss_of(surrogate: Any, **keys: Any) -> PolicyLoss:
    stage = GrpoStage.model_validate(
        {
            "kind": "grpo",
            "name": "rl",
            "data": ["questions"],
            "steps": 1,
            "prompts_per_step": 4,
            "samples_per_prompt": 2,
            "sampling": {"max_tokens": 8},
            "optimizer": {"learning_rate": 1e-3},
            "loss": surrogate,
            **keys,
        }
    )
    return policy_loss_of(stage)


def test_a_surrogate_of_ones_own_is_composed_like_one_that_comes_with_rlpost(file: Path) -> None:
    keys = {"kl": {"coefficient": 0.1}, "max_staleness": 1, "off_policy": {"proximal": "log_linear"}}
    mine = loss_of({"kind": f"{file}:again", "params": {"cap": 3}}, **keys)
    given = loss_of({"kind": "cispo", "cap": 3.0}, **keys)
    assert given.surrogate == Cispo(cap=3.0)
    assert mine.columns == given.columns
    assert mine(INPUTS).total.item() == given(INPUTS).total.item()
    assert torch.equal(gradient_by_autograd(mine, INPUTS), gradient_by_autograd(given, INPUTS))


def test_parameters_have_their_types_and_defaults(file: Path) -> None:
    assert surrogate_of(file).params == {"cap": 5.0}
    assert surrogate_of(file, cap=2).params == {"cap": 2.0}
    with pytest.raises(PluginError, match="again do not fit: cap: Input should be a valid number"):
        surrogate_of(file, cap="high")


def test_another_process_loads_the_file_by_its_name_and_nothing_of_it_is_pickled(file: Path) -> None:
    loss = loss_of({"kind": f"{file}:again"})
    (file.parent / "loss.pickle").write_bytes(pickle.dumps(loss))
    assert b"ratios_of" not in pickle.dumps(loss)
    program = (
        "import pickle, sys, torch\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "from loss_inputs import inputs_of\n"
        "loss = pickle.load(open(sys.argv[1], 'rb'))\n"
        "inputs = inputs_of([-1.0, -0.1, -2.0], rows=[0, 0, 1], advantages=[1.0, 1.0, -2.0], "
        "behaviour=[-1.2, -1.5, -1.0])\n"
        "print(loss(inputs).total.item())\n"
    )
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    command = [sys.executable, "-c", program, str(file.parent / "loss.pickle"), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(loss(INPUTS).total.item()), done.stderr


def test_a_process_that_finds_another_source_refuses_it(file: Path) -> None:
    surrogate = surrogate_of(file)
    file.write_text(CISPO_AGAIN.replace("cap: float = 5.0", "cap: float = 6.0"))
    with pytest.raises(PluginError, match="must be the one that was checked at the start of the run"):
        surrogate(INPUTS, log_ratios_T=INPUTS.logprobs_T)


def test_an_edit_does_not_reach_a_process_that_has_the_loss(file: Path) -> None:
    loss = loss_of({"kind": f"{file}:again"})
    before = loss(INPUTS).total.item()
    file.write_text(CISPO_AGAIN.replace("-ratios_T", "-7 * ratios_T"))
    assert loss(INPUTS).total.item() == before


def test_the_gradient_is_that_of_differences_where_the_ratio_carries_it(file: Path) -> None:
    file.write_text(CISPO_AGAIN.replace("log_ratios_T.detach()", "log_ratios_T"))
    loss = loss_of({"kind": f"{file}:again"})
    torch.testing.assert_close(
        gradient_by_autograd(loss, INPUTS), gradient_by_differences(loss, INPUTS), rtol=1e-6, atol=1e-8
    )
