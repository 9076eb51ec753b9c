"""Every source gives the examples that its rows say, in a fixed order, or an error that says what to set."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from opened import load_examples

from rlpost.data import source_reasoning_gym
from rlpost.data.sources import require_columns
from rlpost.errors import DataError
from rlpost.recipe.sections import DataConfig
from rlpost.records import Example, Message, assistant_turn

TWO_DIGITS = {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 2}


def load(**fields: Any) -> list[Example]:
    return load_examples("set", DataConfig(**fields))


def jsonl(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return f"jsonl:{path}"


def one(path: Path, row: dict[str, Any], **fields: Any) -> Example:
    [example] = load(source=jsonl(path / "one.jsonl", row), **fields)
    return example


def user(text: str) -> Message:
    return Message(role="user", content=text)


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


# Generated rows


def test_a_generated_row_holds_what_the_tasks_own_scorer_needs() -> None:
    import reasoning_gym

    for task in ("chain_sum", "knights_knaves", "countdown", "maze"):
        examples = load(source=f"reasoning_gym:{task}", rows=3, seed=5)
        for example in examples:
            generated = example.meta["reasoning_gym"]
            scorer = reasoning_gym.create_dataset(task, size=1, seed=0, **generated["params"])
            assert scorer.score_answer(example.gold, entry=generated["entry"]) == 1.0
            assert generated["task"] == task
            json.dumps(example.meta)


def test_generated_rows_depend_on_the_seed_and_the_parameters_only() -> None:
    first = load(source="reasoning_gym:chain_sum", rows=5, seed=1, params=TWO_DIGITS)
    again = load(source="reasoning_gym:chain_sum", rows=5, seed=1, params=TWO_DIGITS)
    other = load(source="reasoning_gym:chain_sum", rows=5, seed=2, params=TWO_DIGITS)
    assert first == again
    assert first[0].messages == (user("State the final answer to the following arithmetic problem: 42 - 25 ="),)
    assert (first[0].id, first[0].gold) == ("set/0", "17")
    assert [example.gold for example in first] != [example.gold for example in other]


def test_an_unknown_task_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(DataError, match=r"chain_sums.*chain_sum"):
        load(source="reasoning_gym:chain_sums", rows=1)


def test_a_task_that_misjudges_plain_data_is_refused() -> None:
    with pytest.raises(DataError, match=r"rearc: .*reference answer 1\.0 before and 0\.05 after"):
        load(source="reasoning_gym:rearc", rows=1)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"digits": 2}, "digits"),
        ({"min_terms": 0}, "min_terms must be positive"),
        ({"size": 3}, "size"),
        # Noticed only where the first row is made.
        ({"max_digits": 3.5}, "the task refuses its parameters: non-integer stop"),
        # It would compute on such a number for hours.
        ({"max_digits": 10**9}, r"data\.set\.params\.max_digits must be at most 4300, .*; found 1000000000"),
        ({"max_digits": 1e18}, r"data\.set\.params\.max_digits must be at most 4300, .*; found 1e\+18"),
    ],
)
def test_wrong_task_parameters_are_refused_in_words(params: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(source="reasoning_gym:chain_sum", rows=1, params=params)


def test_a_task_that_makes_no_row_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_reasoning_gym, "ROW_TIMEOUT_S", 0.5)
    with pytest.raises(DataError, match=r"a row within 0\.5 s; .* data\.set\.params, found \{'max_terms': 1000000000"):
        load(source="reasoning_gym:chain_sum", rows=1, params={"max_terms": 10**9, "min_terms": 10**9})


def test_the_time_limit_is_one_of_each_row_not_of_all() -> None:
    with source_reasoning_gym._time_limit(1.0) as start_again:
        for _ in range(4):
            time.sleep(0.3)
            assert start_again()


def test_the_time_limit_of_rows_leaves_another_alarm_as_it_was() -> None:
    def mine(*_: object) -> None: ...

    earlier = signal.signal(signal.SIGALRM, mine), signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        load(source="reasoning_gym:chain_sum", rows=1, params=TWO_DIGITS)
        assert signal.getsignal(signal.SIGALRM) is mine
        assert 900 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
    finally:
        signal.signal(signal.SIGALRM, earlier[0])
        signal.setitimer(signal.ITIMER_REAL, *earlier[1])


def test_the_instruction_replaces_the_wording_and_the_solution_fills_the_response() -> None:
    [example] = load(
        source="reasoning_gym:chain_sum",
        rows=1,
        seed=1,
        params=TWO_DIGITS,
        instruction="{expression} = ? Answer in \\boxed{}.",
        system="Be brief.",
        solution="rlpost.data.worked_solutions:column_steps",
    )
    assert example.messages == (
        Message(role="system", content="Be brief."),
        user("42 - 25 = ? Answer in \\boxed{}."),
    )
    assert example.response == "12-5=7;4-2-1=1;\\boxed{17}"
    assert example.meta["question"] == "State the final answer to the following arithmetic problem: 42 - 25 ="


# Files


def test_a_sample_of_a_file_is_deterministic_and_keeps_the_row_numbers(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", *({"prompt": f"p{row}", "gold": row} for row in range(100)))
    some = load(source=source, rows=10, seed=3)
    assert some == load(source=source, rows=10, seed=3)
    assert some == load(source=source, seed=3)[:10]
    assert [example.id for example in some] != [example.id for example in load(source=source, rows=10, seed=4)]
    assert all(example.messages == (user(f"p{example.gold}"),) for example in some)
    assert all(example.id == f"set/{example.gold}" for example in some)
    assert len({example.id for example in load(source=source)}) == 100


def test_all_file_sources_read_the_same_rows_alike(tmp_path: Path) -> None:
    import datasets

    rows = [{"prompt": f"p{row}", "response": f"r{row}", "level": row, "tags": ["a", str(row)]} for row in range(7)]
    folder = tmp_path / "files"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    saved = tmp_path / "saved"
    datasets.Dataset.from_list(rows).save_to_disk(str(saved))
    both = tmp_path / "both"
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(str(both))
    cache = {"cache_dir": str(tmp_path / "cache")}

    expected = load(source=jsonl(tmp_path / "a.jsonl", *rows), rows=5, seed=1)
    assert expected[0].meta == {"level": int(expected[0].id[4:]), "tags": ["a", expected[0].id[4:]]}
    assert load(source=f"parquet:{folder / 'train.parquet'}", rows=5, seed=1) == expected
    assert load(source=f"hf:{folder}", rows=5, seed=1, params=cache) == expected
    assert load(source=f"hf:{saved}", rows=5, seed=1) == expected
    assert load(source=f"hf:{both}", rows=5, seed=1) == expected


def test_broken_sources_are_refused_with_place_and_remedy(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt": "a"}\n\n{"prompt": \n')
    listed = tmp_path / "list.jsonl"
    listed.write_text("[1]\n")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    fine = jsonl(tmp_path / "fine.jsonl", {"prompt": "a"})
    cases: list[tuple[dict[str, Any], str]] = [
        ({"source": f"jsonl:{tmp_path}/none.jsonl"}, "none.jsonl must be a readable"),
        ({"source": f"jsonl:{broken}"}, "broken.jsonl:3: a line must be one JSON object"),
        ({"source": f"jsonl:{listed}"}, "list.jsonl:1: .* found a list"),
        ({"source": f"jsonl:{empty}"}, "data.set needs at least 1 rows; .* has 0"),
        ({"source": fine, "rows": 2}, "data.set needs 2 rows; .* has 1: lower data.set.rows"),
        ({"source": fine, "params": {"x": 1}}, "data.set.params has no meaning"),
        ({"source": f"parquet:{tmp_path}/none.parquet"}, "none.parquet must be a Parquet file or a folder"),
        ({"source": f"parquet:{fine[6:]}"}, "must be whole files of their kind"),
        ({"source": f"hf:{tmp_path}/nowhere"}, "nowhere with split 'train'"),
        ({"source": fine, "solution": "rlpost.data.nothing:f"}, "solution must be module:function"),
        ({"source": fine, "solution": "short"}, "solution must be module:function"),
    ]
    for fields, words in cases:
        with pytest.raises(DataError, match=words):
            load(**fields)


def test_lines_that_no_parser_finishes_are_refused_with_their_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for line in ("[" * 100_000, '{"a":' * 100_000, '{"gold": ' + "9" * 5000 + "}"):
        path.write_text('{"prompt": "a"}\n' + line + "\n")
        with pytest.raises(DataError, match=r"rows.jsonl:2: a line must be one JSON object; found"):
            load(source=f"jsonl:{path}")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_pipe_or_a_device_is_no_file_of_rows(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DataError, match=f"{place} is neither a file nor a directory"):
            load(source=f"{kind}:{place}")


def test_a_pipe_inside_a_directory_of_rows_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    import datasets

    saved, files, shards = tmp_path / "saved", tmp_path / "files", tmp_path / "shards"
    datasets.Dataset.from_list([{"prompt": "a", "gold": "b"}]).save_to_disk(str(saved))
    (arrow,) = saved.glob("*.arrow")
    arrow.unlink()
    for pipe in (arrow, files / "train.jsonl", shards / "rows.parquet"):
        pipe.parent.mkdir(exist_ok=True)
        os.mkfifo(pipe)
    for source, pipe in (
        (f"hf:{saved}", arrow),
        (f"hf:{files}", files / "train.jsonl"),
        (f"parquet:{shards}", shards / "rows.parquet"),
    ):
        with pytest.raises(DataError, match=f"{pipe} is neither a file nor a directory"):
            load(source=source)


def test_parquet_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    # Arrow takes it for granted that text is UTF-8, and so it writes what is not.
    pretended = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"\xff\xfe"]).buffers())
    pq.write_table(pa.table({"prompt": pretended}), path)
    with pytest.raises(DataError, match=r"rows.parquet must hold whole rows with text in UTF-8; found"):
        load(source=f"parquet:{path}")


def test_a_broken_file_of_a_hugging_face_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n')
    with pytest.raises(DataError, match=r"rows with split 'train' and params .* cannot be loaded"):
        load(source=f"hf:{folder}", params={"cache_dir": str(tmp_path / "cache")})


def test_of_many_columns_some_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(columns: c0, .*, c19, and 280 more\): a row needs a prompt"):
        one(tmp_path, {f"c{number}": 1 for number in range(300)})


def test_a_solution_that_returns_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"numpy:size returned a int for row set/0"):
        one(tmp_path, {"prompt": "a"}, solution="numpy:size")


def test_a_solution_that_raises_is_refused_with_the_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must return text; numpy:cos raised TypeError for row set/0"):
        one(tmp_path, {"prompt": "a"}, solution="numpy:cos")
    with pytest.raises(DataError, match="column_steps needs a sum"):
        one(tmp_path, {"prompt": "a"}, solution="rlpost.data.worked_solutions:column_steps")


# Columns


def test_conversations_end_in_the_response(tmp_path: Path) -> None:
    turns = [turn("system", "s"), turn("user", "q1"), turn("assistant", "a1"), turn("user", "q2")]
    answered = one(tmp_path, {"messages": [*turns, turn("assistant", "a2")], "source": "x"})
    assert [(message.role, message.content) for message in answered.messages] == [
        ("system", "s"),
        ("user", "q1"),
        ("assistant", "a1"),
        ("user", "q2"),
    ]
    assert (answered.response, answered.meta) == ("a2", {"source": "x"})
    asked = one(tmp_path, {"messages": turns, "gold": 4})
    assert (asked.messages, asked.response, asked.gold) == (answered.messages, None, 4)


def test_columns_are_taken_by_the_names_that_the_recipe_gives(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "a", "number": 3, "prompt": "unused"}
    example = one(tmp_path, row, columns={"prompt": "question", "response": "answer", "gold": "number"})
    assert (example.messages, example.response, example.gold) == ((user("q"),), "a", 3)
    assert example.meta == {"prompt": "unused"}
    document = one(tmp_path, {"body": "text"}, columns={"text": "body"})
    assert (document.text, document.messages) == ("text", ())


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [turn("user", "q")], "chosen": [turn("assistant", "good")], "rejected": [turn("assistant", "bad")]},
        {
            "chosen": [turn("user", "q"), turn("assistant", "good")],
            "rejected": [turn("user", "q"), turn("assistant", "bad")],
        },
        {
            "prompt": "q",
            "chosen": [turn("user", "q"), turn("assistant", "good")],
            "rejected": [turn("user", "q"), turn("assistant", "bad")],
            "messages": [turn("user", "q"), turn("assistant", "good")],
        },
    ],
)
def test_trl_preference_formats_all_give_the_same_pair(tmp_path: Path, row: dict[str, Any]) -> None:
    example = one(tmp_path, row)
    assert (example.messages, example.completion) == ((user("q"),), assistant_turn("good"))
    assert example.rejected == assistant_turn("bad")


def test_trl_prompt_completion_gives_a_demonstration(tmp_path: Path) -> None:
    example = one(tmp_path, {"prompt": [turn("user", "q")], "completion": [turn("assistant", "a")]})
    assert (example.messages, example.response) == ((user("q"),), "a")


@pytest.mark.parametrize(
    ("row", "columns", "words"),
    [
        ({"question": "q"}, {}, r"\(columns: question\): a row needs a prompt.*columns.prompt"),
        ({"question": "q"}, {"prompt": "qestion"}, "columns.prompt is 'qestion'.*did you mean question"),
        ({"prompt": 5}, {}, "a prompt must be a string, or a list of messages.*found a int"),
        ({"prompt": []}, {}, "found an empty list"),
        ({"prompt": [turn("assistant", "a")]}, {}, "a prompt must end with a user turn"),
        ({"prompt": [turn("system", "a")]}, {}, "a prompt needs a user turn; found roles system"),
        ({"prompt": ["a"]}, {}, "a message must have a role and a content, both strings; found a"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image"}]}]},
            {},
            "message 0 has a part of type image, and only text",
        ),
        ({"prompt": "a", "response": 7}, {}, "the response must be a string or a list of messages; found a int"),
        (
            {"prompt": "a", "response": [turn("user", "x")]},
            {},
            "must begin and end with an assistant turn; found turns of user",
        ),
        ({"messages": [turn("user", "q"), turn("assistant", "a")], "response": "b"}, {}, "leave out one of the two"),
        ({"chosen": [], "rejected": []}, {}, "found an empty list"),
        ({"text": 5}, {}, "the text must be a string; found a int"),
    ],
)
def test_rows_of_the_wrong_form_are_refused(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str], words: str
) -> None:
    with pytest.raises(DataError, match=f"data.set, row 0.*{words}"):
        one(tmp_path, row, columns=columns)


def test_a_stage_names_the_row_that_lacks_a_field() -> None:
    answer = assistant_turn("a")
    full = Example(id="s/0", dataset="s", messages=(user("q"),), completion=answer, rejected=answer, gold=0)
    bare = Example(id="s/1", dataset="s", messages=(user("q"),))
    document = Example(id="s/2", dataset="s", text="t")
    require_columns([full], stage="one", use="pairs")
    require_columns([full], stage="one", use="prompts_with_gold")
    require_columns([full, bare], stage="one", use="prompts")
    require_columns([full, document], stage="one", use="cpt")
    with pytest.raises(DataError, match=r"stage one \(sft\) needs messages and response.*row s/1 lacks response"):
        require_columns([full, bare], stage="one", use="sft")
    with pytest.raises(DataError, match=r"stage two \(pairs\).*row s/1 lacks response and rejected"):
        require_columns([full, bare], stage="two", use="pairs")
    with pytest.raises(DataError, match=r"row s/1 lacks gold: set data.s.columns"):
        require_columns([bare], stage="two", use="prompts_with_gold")


def test_the_package_imports_without_any_library_of_the_run_extra() -> None:
    code = (
        "import sys, pkgutil, importlib, rlpost.data\n"
        "names = [module.name for module in pkgutil.iter_modules(rlpost.data.__path__)]\n"
        "[importlib.import_module(f'rlpost.data.{name}') for name in names]\n"
        "print(*sorted({'torch', 'transformers', 'datasets', 'pyarrow', 'trl', 'reasoning_gym'} & set(sys.modules)))\n"
        "print(len(names) > 8)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "\nTrue\n"


def test_a_missing_library_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(DataError, match=r"data.set with source reasoning_gym:chain_sum.*pip install 'rlpost\[run\]'"):
        load(source="reasoning_gym:chain_sum", rows=1)
