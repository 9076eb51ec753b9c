"""A sampler of the author's own, from a file: made, held to its contract, resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from guide_steps import write_files
from sampled_rows import CONFIG, group_of, rows_of, sampler, saved
from small_run import recipe_document, recipe_of

from rlpost.data.samplers.plugin_sampler import try_sampler
from rlpost.errors import DataError, PluginError
from rlpost.stages.plugins import plugin_problems

BODY = """
class Mine:
    def __init__(self, rows, *, seed, rows_per_step, first: int = 0):
        self.place, self.size = first, len(rows.ids)
    def next(self, count):
        self.place += count
        return [(self.place - count + one) % self.size for one in range(count)]
    def observe(self, groups):
        pass
    def state(self):
        return {"place": self.place}
    def load(self, state):
        self.place = state["place"]
"""


def written(folder: Path, body: str = BODY) -> dict[str, object]:
    (folder / "mine.py").write_text(body)
    return {"kind": f"{folder}/mine.py:Mine"}


def test_the_sampler_of_the_guide_draws_what_fails_and_goes_on_from_its_state(tmp_path: Path) -> None:
    write_files("samplers.md", tmp_path)
    config = {"kind": f"{tmp_path}/prioritised.py:Prioritised", "params": {"least": 0.05}}
    whole, first, again = (sampler(config, rows_of(sums=4)) for _ in range(3))

    def steps(one, count: int) -> list[int]:
        taken: list[int] = []
        for _ in range(count):
            rows = one.next(4)
            taken += rows
            one.observe([group_of(row, *([0.0, 0.0] if row == 2 else [1.0, 1.0])) for row in rows])
        return taken

    expected = steps(whole, 40)
    before = steps(first, 17)
    again.load(saved(first.state()))
    assert before + steps(again, 23) == expected
    assert expected[40:].count(2) > 0.75 * 120


def test_a_plugin_gets_its_parameters_and_the_state_of_other_rows_is_refused(tmp_path: Path) -> None:
    one = sampler(written(tmp_path) | {"params": {"first": 2}}, rows_of(sums=5))
    assert one.next(4) == [2, 3, 4, 0]
    with pytest.raises(DataError, match=r"that of a mine\.py:Mine sampler over rows"):
        sampler(written(tmp_path), rows_of(sums=6)).load(saved(one.state()))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return [(self", "return [0.5 + (self", r"next of the sampler .* whole numbers from 0 to 4; found 0\.5"),
        ("% self.size", "+ 5", r"whole numbers from 0 to 4; found 5"),
        ("for one in range(count)]", "for one in range(count - 1)]", r"a list of 3 rows; found 2 entries"),
        ("        return [(self", "        return {1}  # ", r"a list of 3 rows; found set"),
        ('{"place": self.place}', "{1: self}", r"state of the sampler .* plain data"),
        ('{"place": self.place}', "{1: 2}", r"plain data that JSON gives back"),
        ('{"place": self.place}', "float('nan')", r"^state of the sampler .* JSON gives back as it is; found nan"),
        ('self.place = state["place"]', "pass", r"must go on after load from what state returned, .* rows \[3, 4, 0\]"),
        ("self.place += count", "self.place += 3", r"next\(2\) must give the rows of next\(1\) and next\(1\)"),
        ("        pass", "        groups[5]", r"observe of the sampler .* IndexError: .* \(line 9 of mine\.py\)"),
        ("        pass", "        groups[1].verdicts[0].score + 1", r"observe of the sampler .* it raised TypeError"),
        ("        pass", "        raise SystemExit", r"observe of the sampler .* it raised SystemExit"),
        ("len(rows.ids)", "len(rows)", r"must be made from \(rows, .* it raised TypeError"),
        ("    def load", "    def lode", r"a class with the methods next, observe, state, load; found the class Mine"),
        ("first: int = 0", "first", r"keyword-only with a type and a default"),
    ],
)
def test_a_plugin_that_breaks_its_contract_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in BODY
    config = CONFIG.validate_python(written(tmp_path, BODY.replace(old, new)))
    with pytest.raises(PluginError, match=message):
        try_sampler(config, rows_of(sums=5), rows_per_step=3, scored=True)


def test_a_plugin_that_forgets_its_place_is_named_by_check_also_where_a_step_is_an_epoch(tmp_path: Path) -> None:
    config = written(tmp_path, BODY.replace('self.place = state["place"]', "pass"))
    document = recipe_document(tmp_path)
    document["stages"][-1]["sampler"] = config
    [problem] = plugin_problems(recipe_of(document))
    assert problem.path == ("stages", 2, "sampler", "kind")
    assert "must go on after load from what state returned" in problem.text


def test_samplers_of_supervised_stages_are_tried_without_scores(tmp_path: Path) -> None:
    config = written(tmp_path, BODY.replace("        pass", "        assert not groups"))
    document = recipe_document(tmp_path)
    document["stages"][0]["sampler"] = config
    assert plugin_problems(recipe_of(document)) == []
