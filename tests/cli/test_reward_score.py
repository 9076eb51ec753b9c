"""`rlpost reward score`, `audit` and `rescore` from the outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rlpost.cli.main import app


def reward(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["reward", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def write_lines(path: Path, *lines: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_one_verdict_a_line_in_the_order_of_the_file(tmp_path: Path) -> None:
    cases = write_lines(
        tmp_path / "cases.jsonl",
        {"prompt": "2+2", "response": r"\boxed{4}", "gold": "4", "meta": {"source": "x"}},
        {"prompt": "2+2", "response": r"\boxed{5}", "gold": "4"},
        {"prompt": "2+2", "response": r"\boxed{4}", "gold": "what?"},
        {"response": r"\boxed{9^{9^{9^{9}}}}", "gold": r"\sqrt2", "comment": "not read"},
    )
    scored = reward("score", "math.equivalent", "--cases", cases, "--json")
    verdicts = [json.loads(line) for line in scored.stdout.splitlines()]
    assert scored.exit_code == 0
    assert [(verdict["score"], verdict["fault"]) for verdict in verdicts] == [
        (1.0, None),
        (0.0, None),
        (None, "gold"),
        (0.0, None),
    ]
    assert set(verdicts[0]) == {
        "score",
        "fault",
        "parts",
        "parsed",
        "reason",
        "tags",
        "marks",
        "version",
        "milliseconds",
    }
    assert (verdicts[0]["parsed"], verdicts[0]["version"]) == ("4", "math.equivalent@3")
    assert verdicts[0]["milliseconds"] > 0


def test_parameters_reach_the_verifier(tmp_path: Path) -> None:
    cases = write_lines(tmp_path / "cases.jsonl", {"response": r"\boxed{5} \boxed{4}", "gold": "4"})
    scores = [
        json.loads(reward("score", "math.equivalent", "--cases", cases, "--json", "--params", params).stdout)["score"]
        for params in ("{}", '{"on_many": "last"}')
    ]
    assert scores == [0.0, 1.0]


def test_a_row_brings_its_own_parameters_and_the_score_that_it_wants(tmp_path: Path) -> None:
    cases = write_lines(
        tmp_path / "cases.jsonl",
        {"response": r"\boxed{5} \boxed{4}", "gold": "4", "params": {"on_many": "last"}, "want": 1.0},
        {"response": r"\boxed{5} \boxed{4}", "gold": "4", "params": None, "want": 1},
        {"response": "4", "gold": "4", "want": 1},
        {"response": "5", "gold": "4"},
    )
    scored = reward("score", "math.equivalent", "--cases", cases, "--params", '{"where": "auto"}')
    lines = scored.stdout.splitlines()
    assert scored.exit_code == 0
    assert ["WANTED 1" in line for line in lines] == [False, True, False, False, False]
    assert lines[-1] == "2 of 3 get the score that they want (66.7%)"
    scored = reward("score", "math.equivalent", "--cases", cases, "--json")
    records = [json.loads(line) for line in scored.stdout.splitlines()]
    assert [record.get("want") for record in records] == [1.0, 1, 1, None]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"response": "4", "params": [1]}, "`params` must be an object"),
        ({"response": "4", "params": {"wher": "auto"}}, "did you mean `where`"),
        ({"response": "4", "want": "1"}, "`want` must be a number"),
        ({"response": "4", "want": True}, "`want` must be a number"),
    ],
)
def test_a_row_that_asks_for_nonsense_is_refused_before_anything_is_judged(
    tmp_path: Path, line: dict[str, Any], message: str
) -> None:
    scored = reward("score", "math.equivalent", "--cases", write_lines(tmp_path / "cases.jsonl", line))
    assert scored.exit_code != 0
    assert message in scored.output


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ('{"on_mny": "last"}', "has no parameter `on_mny`: did you mean `on_many`?"),
        ('{"on_many": 3}', "parameters of text.exact do not fit"),
        ("[1]", "--params must be a JSON object"),
        ("{", "--params must be a JSON object"),
    ],
)
def test_wrong_parameters_are_refused(tmp_path: Path, params: str, message: str) -> None:
    cases = write_lines(tmp_path / "cases.jsonl", {"response": "a", "gold": "a"})
    scored = reward("score", "text.exact", "--cases", cases, "--params", params)
    assert (scored.exit_code, scored.stdout) == (2, "")
    assert message in scored.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{not json}", "a line must be one JSON object in UTF-8"),
        (b'{"response": "\xff"}', "a line must be one JSON object in UTF-8"),
        (b"[1, 2]", "a line must be one JSON object; found a list"),
        (b"[" * 100_000, "a line must be one JSON object in UTF-8"),
        (b'{"gold": "a"}', "`response` must be text; found none"),
        (b'{"response": 7}', "`response` must be text; found 7"),
        (b'{"response": "a", "prompt": ["b"]}', "`prompt` must be text; found ['b']"),
        (b'{"response": "a", "meta": "b"}', "`meta` must be an object; found 'b'"),
        (b'{"response": "a", "finish": "eos"}', "`finish` must be stop or length; found 'eos'"),
    ],
)
def test_a_malformed_line_is_an_error_that_names_it_before_anything_is_printed(
    tmp_path: Path, line: bytes, message: str
) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_bytes(b'{"response": "a", "gold": "a"}\n\n' + line + b"\n")
    scored = reward("score", "text.exact", "--cases", str(path), "--json")
    assert (scored.exit_code, scored.stdout) == (2, "")
    assert f"{path}:3: {message}" in scored.stderr


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    scored = reward("score", "text.exact", "--cases", str(tmp_path / "none.jsonl"))
    assert scored.exit_code == 2
    assert "must be a readable file with one JSON object a line" in scored.stderr


def test_hostile_text_is_printed_as_plain_ascii(tmp_path: Path) -> None:
    cases = write_lines(tmp_path / "cases.jsonl", {"response": "\ud800\u202e\0\x1b[31m", "gold": "a"})
    for options in ([], ["--json"]):
        scored = reward("score", "text.exact", "--cases", cases, *options)
        assert scored.exit_code == 0
        assert scored.stdout.isascii() and "\x1b" not in scored.stdout


def test_a_clean_data_set_exits_with_0_and_a_gold_that_cannot_be_read_with_1(tmp_path: Path) -> None:
    rows = [{"prompt": f"{number} + 1", "gold": str(number + 1)} for number in range(6)]
    clean = reward("audit", write_lines(tmp_path / "a.jsonl", *rows), "--reward", "math.equivalent")
    assert (clean.exit_code, clean.stdout.splitlines()[-1]) == (0, "nothing is wrong")
    bad = tmp_path / "bad.jsonl"
    path = write_lines(tmp_path / "b.jsonl", *rows, {"prompt": "x", "gold": "who knows?"})
    spoiled = reward("audit", path, "--reward", "math.equivalent", "--quarantine", str(bad))
    assert spoiled.exit_code == 1
    assert "1 golds cannot be read\n  b/6  gold 'who knows?': " in spoiled.stdout
    [line] = [json.loads(line) for line in bad.read_text().splitlines()]
    assert (line["id"], line["gold"], line["verifier"]) == ("b/6", "who knows?", "math.equivalent@3")
    assert "is not a number or an expression" in line["reason"]


def test_a_generated_data_set_is_audited_with_a_rewards_section(tmp_path: Path) -> None:
    (tmp_path / "rewards.yaml").write_text('rewards:\n  routes:\n    "*": {verifier: reasoning_gym}\n')
    audited = reward(
        "audit", "reasoning_gym:chain_sum", "--reward", str(tmp_path / "rewards.yaml"), "--rows", "20", "--json"
    )
    report = json.loads(audited.stdout)
    assert (audited.exit_code, report["clean"], report["rows"], report["asked"]) == (0, True, 20, 20)
    assert report["crossed"] > 20


def test_the_golds_column_can_be_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"prompt": "1 + 1", "solution_value": "2"})
    audited = reward("audit", path, "--reward", "math.equivalent", "--gold", "solution_value")
    assert (audited.exit_code, "1 rows, 1 golds given as answers" in audited.stdout) == (0, True)


def test_a_data_set_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    audited = reward("audit", str(tmp_path / "a.txt"), "--reward", "math.equivalent")
    assert audited.exit_code == 2
    assert "must be a file of rows, such as .jsonl or .parquet" in audited.stderr


def stored_run(folder: Path) -> Path:
    groups = [
        {
            "step": 0,
            "prompt": f"sums/{number}",
            "messages": [{"role": "user", "content": "?"}],
            "gold": "7",
            "responses": [
                {"text": r"\boxed{7}", "finish": "stop", "score": 0.0, "fault": None},
                {"text": "7", "finish": "stop", "score": 1.0, "fault": None},
            ],
        }
        for number in range(3)
    ]
    (folder / "stages" / "01-rl").mkdir(parents=True)
    write_lines(folder / "stages" / "01-rl" / "samples.jsonl", *groups)
    return folder


def test_rescore_shows_what_would_flip(tmp_path: Path) -> None:
    run = stored_run(tmp_path)
    (run / "new.yaml").write_text("rewards:\n  routes:\n    sums: {verifier: math.equivalent}\n")
    shown = reward("rescore", str(run), "--reward", str(run / "new.yaml"))
    assert shown.exit_code == 0
    assert "6 responses in 3 groups" in shown.stdout
    assert "6 responses flip; scores change by +0.0000 in the mean" in shown.stdout
    assert "3 of 3 groups have an advantage whose sign changes" in shown.stdout
    report = json.loads(reward("rescore", str(run), "--reward", "math.equivalent", "--json").stdout)
    assert report["matrix"] == [
        {"old": "paid", "new": "unpaid", "count": 3},
        {"old": "unpaid", "new": "paid", "count": 3},
    ]
    assert report["flips"][0]["response"] == r"\boxed{7}"


def test_a_verifier_of_a_file_is_found_relative_to_the_yaml_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, beside = stored_run(tmp_path / "run"), tmp_path / "rewards"
    beside.mkdir()
    assert reward("new", "my.own", "--dir", str(beside)).exit_code == 0
    (beside / "new.yaml").write_text('rewards:\n  routes:\n    "*": {verifier: my_own.py:own}\n')
    monkeypatch.chdir(tmp_path)
    report = json.loads(reward("rescore", str(run), "--reward", "rewards/new.yaml", "--json").stdout)
    assert report["matrix"] == [
        {"old": "paid", "new": "unpaid", "count": 3},
        {"old": "unpaid", "new": "paid", "count": 3},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routes: {}", "must have a section `rewards:`"),
        ("rewards:\n  routs: {}\n", "new.yaml:2: rewards.routs: unknown key; did you mean `routes`?"),
        ("rewards:\n  routes:\n    a: {verifier: math.equivalnt}\n", "no verifier is called `math.equivalnt`"),
    ],
)
def test_a_wrong_rewards_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    run = stored_run(tmp_path)
    (tmp_path / "new.yaml").write_text(text)
    refused = reward("rescore", str(run), "--reward", str(tmp_path / "new.yaml"))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert message in refused.stderr
