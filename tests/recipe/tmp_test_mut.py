"""Whatever is done to a valid recipe, it loads or is refused with a `RecipeError`; nothing else ever escapes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlpost.errors import RecipeError
from rlpost.recipe.arithmetic import describe
from rlpost.recipe.check import problems
from rlpost.recipe.load import load_recipe
from rlpost.recipe.schema import ClusterConfig

TEXT = (Path(__file__).parent / "valid.yaml").read_text()
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**18),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=6),
    st.sampled_from(
        ["arithmetic", "sft", "jsonl:.", "parquet:.", "hf:x", "rlpost:plain", "${env:", "${env:X:-1}", ".", "~"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just("kind"), inner, max_size=3)
    ),
    max_leaves=6,
)
RUNS = settings(max_examples=4000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load_and_check(path: Path, overrides: list[str]) -> None:
    try:
        recipe = load_recipe(path, overrides=overrides).recipe
    except RecipeError as error:
        assert str(error).strip()
        return
    found = problems(recipe, ClusterConfig(name="cpu"), verifier_reads={})
    assert all(problem.text for problem in found)
    if not found:
        assert describe(recipe, ClusterConfig(name="cpu"))


def spots(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [spot for key in keys for spot in spots(value[key])]


@RUNS
@given(data=st.data(), value=VALUES)
def test_a_value_replaced_removed_or_added(data: st.DataObject, value: Any, tmp_path: Path) -> None:
    document = copy.deepcopy(yaml.safe_load(TEXT))
    container, key = data.draw(st.sampled_from(spots(document)))
    match data.draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            container[key] = value
        case "remove":
            del container[key]
        case _ if isinstance(container, dict):
            container[data.draw(st.text(max_size=6))] = value
        case _:
            container.append(value)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    load_and_check(path, [])


@RUNS
@given(data=st.data(), inserted=st.text(st.sampled_from("abe:[]{}-#&*!|>'\"%@`,? \n\t0${}~."), max_size=4))
def test_the_text_cut_and_spliced(data: st.DataObject, inserted: str, tmp_path: Path) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    stop = data.draw(st.integers(start, min(len(TEXT), start + 30)))
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT[:start] + inserted + TEXT[stop:], encoding="utf-8")
    load_and_check(path, [])


@RUNS
@given(key=st.text(st.sampled_from("abs.=-[]tgeols0 "), max_size=12), value=st.text(max_size=8))
def test_any_override(key: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT, encoding="utf-8")
    load_and_check(path, [f"{key}={value}", f"stages.{key}={value}", f"stages.grpo.{key}={value}"])
