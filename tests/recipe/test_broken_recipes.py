"""Every file in `broken/` has one mistake, and the command line names it, its line and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlpost.cli.main import app

HERE = Path(__file__).parent
VALID = HERE / "valid.yaml"

RECIPES = {
    "unknown_key": "unknown_key.yaml:3: stages[sft].rows_per_stpe: unknown key; did you mean `rows_per_step`?",
    "wrong_type": "wrong_type.yaml:3: stages[sft].rows_per_step: expected a whole number, found the text 'many'",
    "missing_file": "missing_file.yaml:3: data.arithmetic.source: the file",
    "missing_column": "missing_column.yaml:5: stages[sft].data[1]: needs response or messages, but the columns of "
    "'questions' are question, gold",
    "unknown_data_name": "stages[sft].data[0]: no data set is called 'arithmetik'; did you mean `arithmetic`?",
    "unknown_verifier": "no verifier is called `math.equivalnet`: did you mean `math.equivalent`?",
    "no_room_for_prompt": "no_room_for_prompt.yaml:3: stages[grpo].sampling.max_tokens: must be less than "
    "model.max_length (128)",
    "key_written_twice": "key_written_twice.yaml:3: seed: written twice, first at",
    "gate_on_unknown_score": "require.pass@8: the evaluation reports no such score; did you mean `pass@4`?",
    "gate_without_evaluate": "stages[grpo].require: a gate needs scores: add the section `evaluate`",
    "unset_environment": "unset_environment.yaml:2: output: the environment variable RLPOST_TEST_UNSET is not set",
    "steps_and_epochs": "stages[sft]: stage sft needs exactly one of `steps` and `epochs`",
    "extends_cycle": "extends_cycle_back.yaml:1: `extends` must not lead back to the same file",
    "too_many_layers": "model.config.num_hidden_layers: must be at most 10,000; found 1,000,000,000",
    "size_that_is_no_number": "model.config.num_attention_heads: must be a whole number, as all sizes of a model",
    "parameter_of_another_type": "data.arithmetic.params.min_digits: must be of type int; found 'banana'",
    "parameters_that_cross": "data.held-out.params: the task chain_sum needs max_terms >= min_terms; min_terms is 5, "
    "max_terms is 3",
    "gold_without_a_value": "stages[grpo].data[0]: needs gold, but line 2 of 'asked' has values in prompt",
    "broken_line": "broken_line.jsonl:2: a line must be one JSON object",
    "small_heads": "model.config: vLLM on CPU needs attention heads of at least 32, found 16",
    "unknown_kind": "stages[grpo]: unknown kind 'gpro'; did you mean `grpo`?",
    "on_is_no_boolean": "deterministic: expected true or false, found the text 'on'",
    "bound_without_quotes": "bound_without_quotes.yaml:5: not YAML",
    "tag": "notes.description: tags are not allowed",
    "solution_of_python": "data.arithmetic.solution: solution must name a function that writes a solution; found "
    "'os:system' of Python's standard library",
    "alias": "alias.yaml:5: aliases are not allowed, found *shared",
    "greedy_exploration": "stages[grpo].sampling: RL needs a temperature above 0",
    "uneven_minibatches": "stages[grpo].minibatches: must divide prompts_per_step (8), found 3",
    "small_micro_batch": "stages[dpo].learner.micro_batch_tokens: must hold at least one pair of sequences",
    "merge_of_nothing": "stages[merged].sources[1].model: must be `base`, a stage before merged, or a directory with "
    "config.json; 'forkk' is none of these: did you mean `fork`?",
    "merge_of_a_scorer": "stages[merged].sources[1].model: scorer is a reward model, and a merge is of language models",
    "merge_of_a_later_stage": "stages[merged].sources[0].model: must name a stage before merged; more comes later",
    "merge_with_an_optimizer": "stages[merged].optimizer: belongs to kind: cpt or sft or dpo or",
    "merge_along_three": "stages[merged]: slerp goes from one model to another: give 2 sources",
    "merge_without_weight": "stages[merged]: a linear merge is a mean: give at least 2 sources whose weights add up to",
    "merge_without_density": "stages[merged]: method dare_ties needs density",
    "density_of_a_mean": "stages[merged]: density has no meaning for method: linear",
    "merge_onto_nothing": "stages[merged].base: must be `base`, a stage before merged, or a directory with config.json",
    "no_rewards": "needs scores: add a `rewards` section",
    "start_comes_later": "stages[sft].start: must name a stage before sft; grpo comes later; known are `base`",
    "start_unknown": "stages[grpo].start: no stage before grpo is called 'sftt'; did you mean `sft`?",
    "start_at_a_reward_model": "stages[ppo].start: scorer is a reward model, from which only another reward_model",
    "own_samples_of_a_scorer": "stages[second-scorer].own_samples: a stage that starts from a reward model (scorer)",
    "critic_from_a_policy": "stages[ppo].value.start: must name a reward_model stage before ppo; sft is of kind sft",
    "critic_from_nowhere": "'scorrer' is none of these: did you mean `scorer`?",
    "gate_on_unknown_pair_score": "the evaluation reports no such score; did you mean `pair_accuracy`?",
    "stale_and_deterministic": "stages[grpo].max_staleness: must be 0 with deterministic: true, found 2",
    "cache_kept_for_nothing": "stages[grpo].kv_cache_on_update: `keep` needs max_staleness above 0",
    "refresh_without_reference": "stages[grpo].kl.refresh_every: refreshes a reference that nothing uses",
    "refresh_with_adapter": "stages[grpo].kl.refresh_every: a refreshed reference needs a copy of its own",
    "crossed_bounds": "off_policy.low: the lower bound must be below the upper one; found low 6 and high 5",
    "nothing_to_correct": "stages[grpo].off_policy.correction: has no effect with `proximal: behaviour`",
    "penalty_without_gradient": "stages[grpo].kl.estimator: the gradient of k1 in the loss has mean 0",
    "masked_and_scored": "stages[grpo].mask_truncated: leaves truncated responses out of the loss",
    "adapter_without_engines": "stages[sft].lora.sync: `adapter` says what engines get in RL",
    "adapter_of_a_scorer": "stages[scorer].lora: a reward model is trained whole",
    "unknown_algorithm": "stages[grpo]: no algorithm is called 'dappo'; did you mean `dapo`?",
    "algorithm_of_another_kind": "stages[grpo]: algorithm tulu3_ppo is a preset for kind: ppo; found kind: grpo",
    "named_column_missing": "stages[grpo].data[0]: needs gold, but the columns of 'asked' are question, gold: "
    "data.asked.columns.gold names 'glod'; did you mean `gold`?",
    "unknown_operator": "rewards.routes.*.summ: unknown key; did you mean `sum`?",
    "two_operators": "rewards.routes.*: a node is exactly one of `verifier`, `gate`, `sum`",
    "weight_of_nothing": "rewards.routes.*.sum[0].weight: expected more than 0 or a mapping, found -1",
    "weight_in_a_product": "rewards.routes.*: a weight belongs to a child of `sum`, or to a whole route; found one at",
    "when_names_nothing": "rewards.routes.*.sum[1].when: no part that runs before this one is called 'rigth': did you",
    "parts_of_one_name": "rewards.routes.*.sum[1].verifier: another part of this route is called `text.exact` already",
    "gate_without_then": "rewards.routes.*: a gate needs `then`",
    "gate_over_several": "rewards.routes.*.gate: a gate over several verifiers needs `least`",
    "unknown_verifier_in_a_tree": "rewards.routes.*.then.sum[0].verifier: no verifier is called `text.exakt`",
    "unknown_part": "stages[grpo].advantage.parts.rihgt: `rewards` has no part of this name: did you mean `right`?",
    "bounds_of_faults": "rewards.on_faults: pause_above must not exceed stop_above; found 0.5 and 0.2",
    "missing_library": "cannot run here: it needs no_such_library: pip install 'rlpost[chem]'",
    "column_of_a_part": "stages[grpo].data[0]: needs hint, but the columns of 'asked' are question, gold",
    "key_of_another_loss": "stages[grpo].loss.dual_clip: belongs to kind: ppo_clip; found kind: cispo: remove it",
    "unknown_loss": "stages[grpo].loss: unknown kind 'ppo_clp'; did you mean `ppo_clip`?",
    "unknown_advantage": "stages[grpo].advantage.scheme: no advantage is called 'leave_one' (one of your own: "
    "module:name or path/to/file.py:name); did you mean `leave_one_out`?",
    "loss_of_python": "stages[grpo].loss.kind: must name an object that is written for this; found 'os:system'",
    "params_of_a_given_advantage": "stages[grpo].advantage: `params` belong to an advantage of your own; grpo takes",
    "curriculum_without_scores": "stages[sft].sampler.kind: curriculum learns from scores, and a sft stage has none",
    "mixture_of_other_data": "stages[sft].sampler.mix.arithmetik: must be a data set of the stage; did you mean "
    "`arithmetic`?",
    "mixture_of_nothing": "stages[sft].sampler: one share of mix must be above 0 at every step; at step 10 all are 0",
    "mixture_of_odd_shares": "stages[grpo].sampler.mix.arithmetic[0][1]: expected a number, found the text 'much'",
    "data_without_a_share": "stages[grpo].sampler.mix: must give each data set of the stage a share; held-out has none",
    "unknown_sampler": "stages[grpo].sampler: unknown kind 'curiculum'; did you mean `curriculum`?",
    "key_of_another_sampler": "stages[grpo].sampler.rest_rounds: belongs to kind: curriculum; found kind: shuffled",
    "not_a_model": "model.path: must be a model directory with config.json",
}
CLUSTERS = {
    "more_ranks_than_gpus": "the roles need 9 GPUs (learner ranks + rollout actors x tensor_parallel)",
    "more_ranks_than_cpus": "the cluster 'too-small' has 4 CPUs (cpus) for 8 learner ranks",
    "more_ranks_than_rows": "stages[dpo].rows_per_step: an optimizer step has 16 rows, fewer than the 17 learner ranks",
    "no_rollout_actors": "cluster 'no-actors' has no rollout actors, but responses are sampled for stage dpo",
    "torchrun": "cluster 'torchrun' starts learners only (launcher: torchrun)",
}


def refusal(*arguments: str) -> str:
    """What `rlpost check` prints when it refuses."""
    result = CliRunner().invoke(app, ["check", *arguments])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    return result.stderr


@pytest.mark.parametrize(("name", "words"), RECIPES.items())
def test_a_broken_recipe_is_refused_with_words_that_name_the_mistake(name: str, words: str) -> None:
    assert words in refusal(str(HERE / "broken" / f"{name}.yaml"))


def test_what_the_broken_recipes_with_a_reward_model_are_made_from_is_valid() -> None:
    result = CliRunner().invoke(app, ["check", str(HERE / "broken" / "parts" / "with_reward_model.yaml")])
    assert result.exit_code == 0, result.stderr


def test_a_stage_that_judges_is_refused_without_ray_for_the_right_reason(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(f"extends: {VALID}\nstages:\n  sft: {{least_score: 1}}\n")
    told = refusal(str(tmp_path / "recipe.yaml"), "--cluster", str(HERE / "broken" / "clusters" / "torchrun.yaml"))
    assert "stages[sft]: needs verifiers, and cluster 'torchrun' starts learners only (launcher: torchrun)" in told


@pytest.mark.parametrize(("name", "words"), CLUSTERS.items())
def test_a_cluster_that_does_not_fit_is_refused(name: str, words: str) -> None:
    assert words in refusal(str(VALID), "--cluster", str(HERE / "broken" / "clusters" / f"{name}.yaml"))


def test_every_broken_file_is_in_the_tables() -> None:
    assert {path.stem for path in (HERE / "broken").glob("*.yaml")} == set(RECIPES)
    assert {path.stem for path in (HERE / "broken" / "clusters").glob("*.yaml")} == set(CLUSTERS)


def test_each_mistake_has_words_of_its_own() -> None:
    messages = [refusal(str(HERE / "broken" / f"{name}.yaml")) for name in RECIPES]
    for words in RECIPES.values():
        assert sum(words in message for message in messages) == 1, words


def test_all_mistakes_of_a_recipe_are_listed_at_once() -> None:
    message = refusal(
        str(VALID), "--set", "stages.sft.rows_per_step=many", "--set", "stages.grpo.stepz=1", "--set", "data=[]"
    )
    assert "3 problems" in message
    assert "stages[sft].rows_per_step" in message
    assert "stages[grpo].stepz" in message
    assert "data: expected a mapping, found an empty list" in message
