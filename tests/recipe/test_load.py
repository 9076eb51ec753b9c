"""Loading: layers, overrides, the environment, paths, hashes, and what YAML text means."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

import rlpost
from rlpost.errors import RecipeError
from rlpost.recipe.load import LoadedRecipe, load_cluster, load_recipe, write_resolved
from rlpost.recipe.messages import _NAMES_ELSEWHERE
from rlpost.recipe.optimizer import OptimizerConfig
from rlpost.recipe.schema import Recipe
from rlpost.recipe.sections import LearnerConfig, ModelConfig, SamplingConfig
from rlpost.recipe.stages import DpoStage, GrpoStage, SftStage
from rlpost.recipe.yaml_reader import core_scalar

VALID = Path(__file__).parent / "valid.yaml"


def load(*overrides: str, path: Path = VALID) -> Recipe:
    return load_recipe(path, overrides=overrides).recipe


def child_of_valid(folder: Path, text: str) -> Path:
    path = folder / "child.yaml"
    path.write_text(f"extends: {VALID}\n{text}")
    return path


def test_a_recipe_has_what_its_file_says_and_defaults_for_the_rest() -> None:
    recipe = load()
    sft, _, grpo = recipe.stages
    assert isinstance(sft, SftStage) and isinstance(grpo, GrpoStage)
    assert sft.optimizer.learning_rate == 1e-3
    assert sft.optimizer.betas == (0.9, 0.999)
    assert grpo.require == {"pass@1": ">= 0.3"}
    assert recipe.data["held-out"].rows == 100


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("+.5", 0.5),
        ("12", 12),
        ("0x10", 16),
        ("0o17", 15),
        ("017", 17),
        ("1_000", "1_000"),
        ("true", True),
        ("off", "off"),
        ("no", "no"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("~", None),
        ("", None),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9" * 400, "9" * 400),
    ],
)
def test_unquoted_text_means_what_the_core_of_yaml_1_2_says(text: str, value: object) -> None:
    found = core_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_a_number_in_quotes_is_text() -> None:
    with pytest.raises(RecipeError, match=r"--set seed: seed: expected a whole number, found the text '5'"):
        load('seed="5"')


def test_extends_merges_mappings_and_replaces_lists(tmp_path: Path) -> None:
    recipe = load(path=child_of_valid(tmp_path, "seed: 7\nmodel: {max_length: 64}\nevaluate: {data: [arithmetic]}\n"))
    assert recipe.seed == 7
    assert (recipe.model.max_length, recipe.model.dtype) == (64, "float32")
    assert recipe.evaluate is not None
    assert (recipe.evaluate.data, recipe.evaluate.samples) == (["arithmetic"], 4)


def test_stages_of_the_extended_recipe_change_by_name(tmp_path: Path) -> None:
    recipe = load(path=child_of_valid(tmp_path, "stages: {grpo: {steps: 5, optimizer: {learning_rate: 1e-4}}}\n"))
    grpo = recipe.stages[2]
    assert isinstance(grpo, GrpoStage)
    assert (grpo.steps, grpo.optimizer.learning_rate, grpo.prompts_per_step) == (5, 1e-4, 8)
    assert [stage.name for stage in recipe.stages] == ["sft", "dpo", "grpo"]


def test_a_list_of_stages_replaces_the_extended_ones(tmp_path: Path) -> None:
    stages = "stages:\n- {name: only, kind: sft, data: [arithmetic], rows_per_step: 1, steps: 1, "
    recipe = load(path=child_of_valid(tmp_path, stages + "optimizer: {learning_rate: 1}}\n"))
    assert [stage.name for stage in recipe.stages] == ["only"]


def test_changing_a_stage_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"no such entry to change; did you mean `grpo`\?"):
        load("stages.gprpo.steps=5")


def test_null_takes_a_section_back() -> None:
    assert load("evaluate=null", "stages.grpo.require={}").evaluate is None


def test_an_override_beats_the_file_and_a_later_one_beats_an_earlier() -> None:
    grpo = load("stages.grpo.steps=5", "stages.grpo.steps=6").stages[2]
    assert isinstance(grpo, GrpoStage)
    assert grpo.steps == 6


def test_an_override_reaches_a_key_that_has_dots(tmp_path: Path) -> None:
    path = child_of_valid(tmp_path, "data: {tulu-3.1: {source: 'hf:name'}}\n")
    recipe = load("data.tulu-3.1.rows=5", path=path)
    assert recipe.data["tulu-3.1"].rows == 5


def test_an_override_makes_a_section_that_is_not_there() -> None:
    assert load("notes.description=short run").notes.description == "short run"


def test_an_override_without_equals_is_refused() -> None:
    with pytest.raises(RecipeError, match="--set expects key=value"):
        load("stages.grpo.steps")


def test_the_environment_fills_in_values_with_their_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLPOST_TEST_ROOT", "/data")
    monkeypatch.setenv("RLPOST_TEST_SEED", "11")
    path = child_of_valid(tmp_path, "output: ${env:RLPOST_TEST_ROOT}/run\nseed: ${env:RLPOST_TEST_SEED}\n")
    recipe = load(path=path)
    assert (recipe.output, recipe.seed) == ("/data/run", 11)


def test_the_default_stands_where_the_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLPOST_TEST_UNSET", raising=False)
    assert load("seed=${env:RLPOST_TEST_UNSET:-5}").seed == 5


def test_a_value_from_the_environment_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLPOST_TEST_SECRET", "hunter2")
    text = "notes: {sources: {token: '${env:RLPOST_TEST_SECRET}', list: [a, '${env:RLPOST_TEST_SECRET}']}}\n"
    loaded = load_recipe(child_of_valid(tmp_path, text), overrides=["model.config.key=${env:RLPOST_TEST_SECRET}"])
    assert loaded.recipe.notes.sources["token"] == "hunter2"
    written = write_resolved(loaded, tmp_path / "run").read_text()
    assert "hunter2" not in written
    assert json.loads(written)["recipe"]["notes"]["sources"]["list"] == ["a", "${env:RLPOST_TEST_SECRET}"]


def test_a_message_does_not_show_a_value_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLPOST_TEST_SECRET", "hunter2")
    with pytest.raises(RecipeError, match=r"found the value of \$\{env:RLPOST_TEST_SECRET\}") as caught:
        load("seed=${env:RLPOST_TEST_SECRET}")
    assert "hunter2" not in str(caught.value)


def test_a_malformed_reference_to_the_environment_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"expected \$\{env:NAME\}"):
        load("output='${env:1X}'")


def test_the_resolved_recipe_names_its_sources_and_loads_again(tmp_path: Path) -> None:
    child = child_of_valid(tmp_path, "seed: 3\n")
    loaded = load_recipe(child, overrides=[])
    content: dict[str, Any] = json.loads(write_resolved(loaded, tmp_path / "run").read_text())
    assert content["rlpost_version"] == rlpost.__version__
    assert content["recipe_hash"] == loaded.recipe_hash
    assert content["sources"] == [
        {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in (child, VALID)
    ]
    assert Recipe.model_validate_json(json.dumps(content["recipe"]), strict=True) == loaded.recipe
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["recipe.resolved.json"]


def moved(folder: Path) -> LoadedRecipe:
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    (folder / "child.yaml").write_text(f"extends: {VALID}\ndata: {{extra: {{source: 'jsonl:rows.jsonl'}}}}\n")
    return load_recipe(folder / "child.yaml", overrides=[])


def test_the_hash_stays_when_the_folder_moves_or_a_default_is_written_out(tmp_path: Path) -> None:
    here, there = moved(tmp_path / "here"), moved(tmp_path / "there")
    assert here.recipe_hash == there.recipe_hash
    assert here.recipe.data["extra"].source != there.recipe.data["extra"].source
    valid = load_recipe(VALID, overrides=[])
    assert load_recipe(VALID, overrides=["deterministic=false"]).recipe_hash == valid.recipe_hash
    assert load_recipe(VALID, overrides=["deterministic=true"]).recipe_hash != valid.recipe_hash


def test_paths_are_looked_for_beside_the_file_that_says_them_then_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, work = tmp_path / "base", tmp_path / "work"
    for folder in (base, work):
        folder.mkdir()
    (base / "rows.jsonl").touch()
    (work / "template.jinja").touch()
    (base / "base.yaml").write_text(f"extends: {VALID}\ndata: {{extra: {{source: 'jsonl:rows.jsonl'}}}}\n")
    (tmp_path / "child.yaml").write_text("extends: base/base.yaml\nmodel: {chat_template: template.jinja}\n")
    monkeypatch.chdir(work)
    recipe = load(path=tmp_path / "child.yaml")
    assert recipe.data["extra"].source == f"jsonl:{base / 'rows.jsonl'}"
    assert recipe.model.chat_template == str(work / "template.jinja")


def test_names_on_a_hub_and_built_in_templates_are_left_alone(tmp_path: Path) -> None:
    text = "model: {config: null, tokenizer: null, path: some-org/some-model}\ndata: {extra: {source: 'hf:org/rows'}}\n"
    recipe = load(path=child_of_valid(tmp_path, text))
    assert recipe.model.path == "some-org/some-model"
    assert recipe.data["extra"].source == "hf:org/rows"
    assert recipe.model.chat_template == "rlpost:plain"


def test_a_value_of_a_union_is_told_once() -> None:
    with pytest.raises(RecipeError) as caught:
        load("model.tokenizer=5")
    assert "1 problem\n" in str(caught.value)
    assert "model.tokenizer: expected text or a mapping, found 5" in str(caught.value)


def test_inside_a_union_only_the_member_that_nearly_fits_is_told() -> None:
    with pytest.raises(RecipeError) as caught:
        load("model.tokenizer.vocab_siez=300", "model.tokenizer.vocab_size=10")
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 2
    assert "model.tokenizer.vocab_size: expected at least 260, found 10" in lines[0]
    assert "model.tokenizer.vocab_siez: unknown key; did you mean `vocab_size`?" in lines[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must be a mapping"),
        (b"- a\n", "must be a mapping"),
        (b"name: \xff\n", "must be UTF-8 text, found byte 0xff"),
        (b"a: b: c\n", "not YAML"),
        (b"a: 1\n---\nb: 2\n", "not YAML"),
        (b"[" * 500 + b"]" * 500, "may be nested 64 deep"),
        (b"? [a]\n: 1\n", "a key must be plain text"),
        (b'name: "\\0"\n', "control characters"),
        (b'name: "\\ud800"\n', "surrogate"),
        (b"extends: [a]\n", "expected the path of one YAML file"),
        (b"extends: nowhere.yaml\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=words):
        load(path=path)


def test_a_recipe_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load(path=tmp_path / "nowhere.yaml")


def test_a_cluster_file_takes_overrides(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("name: here\n")
    assert load_cluster(path, overrides=["learner.ranks=2"]).cluster.learner.ranks == 2


@pytest.mark.parametrize("name", ["..", "../sft", "a/b", "/etc", ".hidden", "sft\n", "sft\x00", "a\\b", "~", ""])
@pytest.mark.parametrize("key", ["name", "stages.sft.name", "stages.grpo.data"])
def test_names_that_become_folders_lead_nowhere_else(key: str, name: str) -> None:
    value = json.dumps([name] if key.endswith("data") else name)
    with pytest.raises(RecipeError, match=r"text of the form|control characters"):
        load(f"{key}={value}")


def test_what_is_extended_is_a_yaml_file_and_no_other_file_is_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("root:hidden:1\n")
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, words in (("secret", "must name a file that ends in .yaml or .yml"), ("pipe.yaml", "regular file")):
        (tmp_path / "recipe.yaml").write_text(f"extends: {name}\n")
        with pytest.raises(RecipeError, match=words) as told:
            load(path=tmp_path / "recipe.yaml")
        assert "hidden" not in str(told.value)
    with pytest.raises(RecipeError, match="regular file"):
        load(path=tmp_path / "pipe.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(b"\xef\xbb\xbf" + f"extends: {VALID}\nseed: 7\n".encode())
    assert load(path=tmp_path / "recipe.yaml").seed == 7


def test_a_tab_is_named_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\nmodel:\n\tpath: y\n")
    with pytest.raises(RecipeError, match=r"recipe.yaml:3: not YAML: a line begins with a tab: indent with spaces"):
        load(path=tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stages.sft.lr=1", "here it is called `optimizer.learning_rate`"),
        ("stages.sft.optimizer.lr=1", "here it is called `learning_rate`"),
        ("stages.sft.batch_size=4", "here it is called `rows_per_step`"),
        ("stages.grpo.batch_size=4", "here it is called `prompts_per_step`"),
        ("stages.grpo.num_generations=4", "here it is called `samples_per_prompt`"),
        ("output_dir=x", "here it is called `output`"),
    ],
)
def test_a_name_of_another_framework_is_told_in_ours(override: str, words: str) -> None:
    with pytest.raises(RecipeError, match=f"unknown key; {words}"):
        load(override)


def test_every_name_that_is_suggested_is_a_key() -> None:
    ours = {part for names in _NAMES_ELSEWHERE.values() for name in names for part in name.split(".")}
    sections = [Recipe, ModelConfig, OptimizerConfig, SamplingConfig, LearnerConfig, SftStage, GrpoStage]
    assert ours <= {key for section in sections for key in section.model_fields}


@pytest.mark.parametrize(("loss", "beta"), [("sigmoid", 0.1), ("sigmoid_norm", 5.0)])
def test_the_usual_beta_of_a_preference_loss_need_not_be_written(loss: str, beta: float) -> None:
    keys = {"kind": "dpo", "name": "dpo", "data": ["d"], "rows_per_step": 2, "steps": 1, "loss": loss}
    optimizer = {"learning_rate": 1e-6}
    stage = DpoStage.model_validate({**keys, "optimizer": optimizer})
    assert stage.settings_of_loss["beta"] == beta
    assert DpoStage.model_validate({**keys, "optimizer": optimizer, "beta": 0.7}).beta == 0.7
