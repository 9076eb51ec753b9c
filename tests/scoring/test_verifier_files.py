"""A verifier in a file beside the recipe: found by its path, also by worker processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlpost.errors import RewardError
from rlpost.plugins import names_file
from rlpost.recipe.paths import at_absolute_path
from rlpost.records import Sample
from rlpost.scoring.registry import resolve
from rlpost.workbench.verifier_runner import VerifierRunner

SOURCE = '''from __future__ import annotations

from dataclasses import dataclass

from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Case, verifier


@dataclass(frozen=True)
class Answer:
    text: str


@verifier(name="mine.same", version="1", cases=(Case(response="a", gold="a", expect="accept"),))
def same(sample: Sample, *, paid: float = 1.0) -> Verdict:
    """1 when equal."""
    answer = Answer(sample.response)
    return Verdict(score=paid * (answer.text == sample.gold), parsed=answer.text)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my rewards.py"
    path.write_text(SOURCE)
    return path


def test_it_is_found_with_and_without_the_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    references = [f"{file}:same", str(file), "my rewards.py:same", "my rewards.py"]
    assert {resolve(reference).reference for reference in references} == {f"{file}:same"}
    assert resolve(str(file)).spec.stamp == "mine.same@1"


def test_a_worker_process_reads_it_from_its_absolute_path(
    file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    verifier = resolve("my rewards.py:same")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    samples = [Sample(id=text, prompt="", response=text, gold="b") for text in "abc"]
    with VerifierRunner(verifier, workers=1) as judge:
        verdicts = judge(samples, params=verifier.validated({"paid": 0.5}))
    assert [(verdict.score, verdict.fault) for verdict in verdicts] == [(0.0, None), (0.5, None), (0.0, None)]
    assert verdicts[0].version == "mine.same@1"


def test_an_edited_file_is_read_again_even_within_the_same_second(file: Path) -> None:
    assert resolve(str(file)).spec.version == "1"
    file.write_text(SOURCE.replace('version="1"', 'version="2"'))
    assert resolve(str(file)).spec.version == "2"


def test_loading_writes_nothing_beside_the_file(file: Path) -> None:
    resolve(str(file))
    assert [path.name for path in file.parent.iterdir()] == ["my rewards.py"]


@pytest.mark.parametrize(
    ("source", "reference", "message"),
    [
        (SOURCE, "{}:sam", r"has no `sam`: did you mean `same`\?"),
        (SOURCE, "{}:Answer", "must be a verifier; found the class Answer"),
        (SOURCE + "\nother = same\n", "{}", "exactly one verifier.*same, other: write my rewards.py:NAME"),
        ("", "{}", "it has no verifier"),
        ("1 / 0", "{}:same", "must load without an error; it raised ZeroDivisionError"),
        ("def broken(", "{}:same", "must load without an error; it raised SyntaxError"),
        (SOURCE, "{}.py:same", "the verifier's file must be readable; found .*No such file"),
    ],
    ids=["name", "no-verifier", "two", "empty", "raises", "syntax", "missing"],
)
def test_what_is_wrong_with_a_file_is_said(file: Path, source: str, reference: str, message: str) -> None:
    file.write_text(source)
    with pytest.raises(RewardError, match=message):
        resolve(reference.format(file))


def test_a_path_is_relative_to_the_recipes_folder_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").touch()
    (tmp_path / "recipes" / "b.py").touch()
    folder = tmp_path / "recipes"
    assert at_absolute_path("b.py:x", folder=folder) == f"{folder / 'b.py'}:x"
    assert at_absolute_path("a.py", folder=folder) == str(tmp_path / "a.py")
    assert at_absolute_path("text.exact", folder=folder) == "text.exact"
    assert [names_file(name) for name in ("a.py", "x/a.py:b", "text.exact", "rewards.text:exact")] == [
        True,
        True,
        False,
        False,
    ]
