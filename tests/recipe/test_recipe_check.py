"""What `rlpost.recipe.check` sees beyond the schema, and the batch arithmetic in words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlpost.errors import RecipeError
from rlpost.recipe.arithmetic import describe
from rlpost.recipe.check import problems, score_names
from rlpost.recipe.load import load_recipe
from rlpost.recipe.schema import ClusterConfig, LearnerRole, RolloutRole
from rlpost.recipe.stages import PpoStage

HERE = Path(__file__).parent
CPU = ClusterConfig(name="cpu")


def found(
    *overrides: str, cluster: ClusterConfig = CPU, verifier_reads: dict[str, tuple[str, ...]] | None = None
) -> list[str]:
    recipe = load_recipe(HERE / "valid.yaml", overrides=overrides).recipe
    return [problem.text for problem in problems(recipe, cluster, verifier_reads=verifier_reads or {})]


def rows(name: str) -> str:
    return f"data.arithmetic.source=jsonl:{HERE / 'rows' / name}"


def test_the_valid_recipe_has_no_problems() -> None:
    assert found(verifier_reads={"arithmetic": ("gold",), "held-out": ("gold",)}) == []


def test_a_completion_column_serves_as_the_response() -> None:
    assert found(rows("demonstrations.jsonl"), "data.arithmetic.solution=null") == []


def test_a_column_that_the_recipe_names_must_be_there() -> None:
    texts = found(rows("demonstrations.jsonl"), "data.arithmetic.columns.prompt=question")
    assert len(texts) == 3  # sft, dpo and grpo use it
    assert texts[0].startswith("needs prompt or messages, but the columns of 'arithmetic' are prompt, completion")


def test_a_demonstration_is_needed_for_sft_and_a_solution_writes_one() -> None:
    without = found("data.arithmetic.solution=null")
    assert without == [
        "needs response or messages, but the columns of 'arithmetic' are prompt, gold, reasoning_gym: "
        "set data.arithmetic.columns or data.arithmetic.solution"
    ]


def test_what_the_verifier_reads_must_be_in_the_rows() -> None:
    reads = {"arithmetic": ("gold", "difficulty"), "held-out": ("gold",)}
    assert [text.partition(",")[0] for text in found(verifier_reads=reads)] == ["needs difficulty"] * 2
    assert [text.partition(",")[0] for text in found(rows("demonstrations.jsonl"), verifier_reads=reads)] == [
        "needs gold"
    ] * 2


def test_given_pairs_need_both_answers_and_conversations_bring_their_prompt() -> None:
    only_dpo = (
        "stages.dpo.own_samples=null",
        "data.pairs.source=" + rows("conversation_pairs.jsonl").partition("=")[2],
    )
    assert found(*only_dpo, "stages.dpo.data=[pairs]") == []
    assert found(*only_dpo)[0].startswith("needs rejected, but the columns of 'arithmetic' are")


def test_a_line_that_is_no_json_object_is_shown_with_its_number() -> None:
    texts = found(rows("not_json.jsonl"))
    assert all("not_json.jsonl:1: a line must be one JSON object" in text for text in texts)
    assert texts


def test_parquet_files_and_folders_of_them_are_read_for_their_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["1+1"], "answer": ["2"]}), tmp_path / "part-0.parquet")
    for source in (tmp_path, tmp_path / "part-0.parquet"):
        override = (f"data.arithmetic.source=parquet:{source}", "data.arithmetic.solution=null")
        assert found(*override)[0].startswith(
            "needs response or messages, but the columns of 'arithmetic' are prompt, answer"
        )
        assert found(*override, "data.arithmetic.columns.response=answer") == []


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"prompt": ["1+1"]}), file)
    for content in (b"prompt", file.read_bytes().replace(b"prompt", b"\xf8rompt")):
        file.write_bytes(content)
        assert f"{file} must be a Parquet file" in found(f"data.arithmetic.source=parquet:{file}")[0]


def test_the_head_size_of_a_model_on_disk_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 64, "num_attention_heads": 4}))
    on_disk = (f"model.path={tmp_path}", "model.config=null", "model.tokenizer=null")
    assert "found 16" in found(*on_disk)[0]
    on_gpu = ClusterConfig(name="gpu", gpus_per_node=1, rollout=RolloutRole(device="cuda"))
    assert found(*on_disk, cluster=on_gpu) == []


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_the_configuration_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    texts = found(f"model.path={tmp_path}", "model.config=null", "model.tokenizer=null")
    assert texts == [f"{tmp_path}/config.json must be the JSON configuration of a model: it is not a regular file"]


def test_the_tokenizer_and_template_must_exist() -> None:
    texts = found("model.tokenizer=./nowhere", "model.chat_template=nowhere.jinja")
    assert texts[0] == "the tokenizer directory ./nowhere does not exist"
    assert texts[1].startswith("the Jinja file") and texts[1].endswith(
        "give a file, `rlpost:plain`, `rlpost:tulu` or `rlpost:tulu_bos`"
    )


@pytest.mark.parametrize("name", ["c" * 400, "a/b/c", "two words", "team/" + "c" * 400])
def test_what_can_be_no_name_on_a_hub_must_exist_here(name: str) -> None:
    assert found(f"model.tokenizer='{name}'") == [f"the tokenizer directory {name} does not exist"]
    given = found(f"model.path='{name}'", "model.config=null", "model.tokenizer=null")
    assert given == [f"must be a model directory with config.json, or a name on a hub; {name} is neither"]
    assert found(f"data.arithmetic.source='hf:{name}'")[0].startswith(f"the file {name} does not exist")
    assert found("model.tokenizer=team/model-1.5B_it", "data.arithmetic.source=hf:team/rows") == []


def test_an_evaluation_reports_pass_at_1_and_at_its_samples() -> None:
    assert score_names(1) == ("pass@1", "mean_score", "truncated", "mean_tokens")
    assert score_names(8) == ("pass@1", "pass@8", "mean_score", "truncated", "mean_tokens")


def described(*overrides: str, ranks: int = 1) -> list[str]:
    cluster = ClusterConfig(name="cpu", learner=LearnerRole(ranks=ranks))
    return describe(load_recipe(HERE / "valid.yaml", overrides=overrides).recipe, cluster)


def test_the_arithmetic_of_each_stage_is_told() -> None:
    lines = [line.strip() for line in described(ranks=2)]
    assert "2 passes over at most 1,000 rows = 63 steps x 32 rows, the last with 16" in lines
    assert "learning rate 0.001, constant, warm-up over 7 steps of 63" in lines
    assert "64 prompts x 4 samples = 256 responses, from which at most 64 pairs are made" in lines
    assert "10 steps x 16 pairs = 160 pairs, 2.5 passes over at most 64" in lines
    assert "20 steps x 8 prompts x 4 samples = 640 responses (32 a step)" in lines
    assert "responses of at most 48 tokens: at most 1,536 generated tokens a step" in lines
    assert "2 optimizer steps a step, each on 16 responses: 40 optimizer steps" in lines
    assert "the run stops after this stage unless pass@1 >= 0.3" in lines
    assert "synchronous: the next step's rollouts wait for the new weights" in lines
    assert (
        "the clip is centred on the policy before the step's first update, by one more forward pass of the learner "
        "(recompute); its ratio to the policy that sampled is cut at 2" in lines
    )
    assert lines[-1] == "after every stage: 100 prompts of held-out x 4 samples = 400 responses"


def test_micro_batches_follow_from_the_ranks_and_the_token_budget() -> None:
    lines = described("stages.sft.learner.micro_batch_tokens=1024", ranks=2)
    assert (
        "  an optimizer step: 32 sequences, at most 4,096 tokens; about 16 rows a rank, in 2 micro-batches of "
        "1,024 tokens if all have full length" in lines
    )


def test_what_depends_on_the_number_of_rows_is_left_open_where_only_the_data_says_it() -> None:
    lines = described(
        "data.arithmetic.source=hf:org/rows", "data.arithmetic.rows=null", "stages.dpo.own_samples.prompts=null"
    )
    assert "  2 passes over all rows of arithmetic, 32 rows a step" in lines
    assert "  learning rate 0.001, constant, warm-up over the first 0.1 of the steps" in lines
    assert "  4 samples for every row of arithmetic" in lines


def test_rollout_actors_are_shown_only_where_something_is_sampled() -> None:
    assert "1 rollout actor on cpu" in described()[0]
    sft = "{name: sft, kind: sft, data: [arithmetic], rows_per_step: 1, steps: 1, optimizer: {learning_rate: 1}}"
    assert "rollout actor" not in described(f"stages=[{sft}]", "evaluate=null")[0]


def ppo_described(*overrides: str) -> list[str]:
    loaded = load_recipe(HERE / "broken" / "parts" / "with_reward_model.yaml", overrides=overrides)
    return [line.strip() for line in describe(loaded.recipe, CPU)]


def test_the_arithmetic_of_a_reward_model_leaves_its_held_out_pairs_out() -> None:
    lines = ppo_described()
    assert "stage 2: scorer (reward_model)" in lines
    assert "6 pairs kept out of training; the stage's scores are pair_accuracy and above_chance on them" in lines
    assert "1 pass over at most 58 pairs = 4 steps x 16 pairs, the last with 10" in lines
    assert "the run stops after this stage unless pair_accuracy >= 0.6" in lines
    assert lines[-1].startswith("after every stage but scorer, second-scorer: 100 prompts")


def test_where_a_stage_starts_is_told_if_it_is_not_the_stage_before_it() -> None:
    assert "stage 3: second-scorer (reward_model), starts from sft" in ppo_described()
    assert "stage 4: ppo (ppo), starts from sft" in ppo_described()
    assert "stage 4: ppo (ppo), starts from base" in ppo_described("stages.ppo.start=base")


def test_algorithm_staleness_and_proximal_policy_of_ppo_are_told() -> None:
    lines = ppo_described()
    assert "4 passes = 4 optimizer steps a step, each on 8 responses: 80 optimizer steps" in lines
    assert (
        "asynchronous: rollouts run up to 1 version ahead; new weights reach responses in flight, whose KV cache is "
        "computed again" in lines
    )
    assert (
        "the clip is centred on the policy before the step's first update, by one more forward pass of the learner "
        "(recompute); its ratio to the policy that sampled is cut at 2" in lines
    )
    assert "critic from scorer, learning rate 1e-05; advantages with discount 1 and trace decay 0.95, whitened" in lines
    two_parts = ppo_described("stages.ppo.minibatches=2", "stages.ppo.algorithm=tulu3_ppo")
    assert "4 passes x 2 minibatches = 8 optimizer steps a step, each on 4 responses: 160 optimizer steps" in two_parts
    assert "scores are multiplied by 10" in two_parts
    assert "a response that is cut off scores -10" in two_parts
    assert any("algorithm tulu3_ppo" in line and "KL penalty 0.05 (k1) in the reward" in line for line in two_parts)


def test_what_becomes_of_older_tokens_is_told_with_its_bounds() -> None:
    def proximal(*overrides: str) -> str:
        lines = described("stages.grpo.max_staleness=4", *overrides)
        return next(line.strip() for line in lines if "the clip is centred on" in line)

    assert proximal("stages.grpo.off_policy.correction=icepop").endswith("masks tokens outside 0.5 .. 5")
    assert proximal("stages.grpo.off_policy.correction=sequence_mask").endswith("masks responses above 3")
    assert proximal("stages.grpo.off_policy.correction=none").endswith("is not corrected")
    assert "a log-linear estimate" in proximal("stages.grpo.off_policy.proximal=log_linear")
    assert "which costs nothing as a step has one update" in proximal("stages.grpo.minibatches=1")
    assert proximal("stages.grpo.off_policy.proximal=behaviour").endswith("are clipped as changes of the policy")
    assert any("rollouts run up to 4 versions ahead" in line for line in described("stages.grpo.max_staleness=4"))


def test_a_value_model_starts_from_a_directory_found_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "scorer").mkdir()
    (tmp_path / "scorer" / "config.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text(f"extends: {HERE / 'broken' / 'parts' / 'with_reward_model.yaml'}\n")
    with (tmp_path / "recipe.yaml").open("a") as recipe:
        recipe.write("stages: {ppo: {value: {start: ./scorer}}}\n")
    loaded = load_recipe(tmp_path / "recipe.yaml", overrides=[]).recipe
    stage = loaded.stages[-1]
    assert isinstance(stage, PpoStage) and stage.value.start == str(tmp_path / "scorer")
    assert problems(loaded, CPU, verifier_reads={}) == []
    (tmp_path / "scorer" / "config.json").unlink()
    assert "none of these" in problems(loaded, CPU, verifier_reads={})[0].text


def test_a_reward_model_called_policy_cannot_be_mistaken_for_the_policy() -> None:
    named = ("stages.scorer.name=policy", "stages.ppo.value.start=policy")
    loaded = load_recipe(HERE / "broken" / "parts" / "with_reward_model.yaml", overrides=named).recipe
    assert "give the reward model another name" in problems(loaded, CPU, verifier_reads={})[0].text


def test_an_optimizers_pair_of_betas_is_read_in_every_kind_of_stage() -> None:
    overrides = [f"stages.{name}.optimizer.betas=[0.9, 0.95]" for name in ("sft", "dpo", "grpo")]
    recipe = load_recipe(HERE / "valid.yaml", overrides=overrides).recipe
    assert [stage.optimizer.betas for stage in recipe.stages] == [(0.9, 0.95)] * 3
    for wrong in ("[0.9]", "['0.9', 0.95]", "[0.9, 1.5]", "0.9"):
        with pytest.raises(RecipeError, match=r"stages\[grpo\].optimizer.betas"):
            load_recipe(HERE / "valid.yaml", overrides=[f"stages.grpo.optimizer.betas={wrong}"])
