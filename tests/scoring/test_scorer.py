from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlpost.errors import RewardError, SandboxError
from rlpost.recipe.rewards import RewardsConfig
from rlpost.records import Fault, Sample
from rlpost.scoring import scorer as scorer_module
from rlpost.scoring.scorer import RoutedScorer


def rewards(route_by: str = "dataset", **routes: dict[str, Any]) -> RewardsConfig:
    return RewardsConfig.model_validate({"route_by": route_by, "routes": routes})


def sample(response: str, *, gold: object = None, dataset: str = "sums", **meta: object) -> Sample:
    return Sample(id=f"{dataset}/0", prompt="", response=response, gold=gold, dataset=dataset, meta=meta)


ROUTES = rewards(
    sums={"verifier": "math.equivalent", "weight": 2.0},
    words={"verifier": "text.exact"},
    half={"verifier": "probe_verifiers:same", "params": {"scale": 0.5}},
    hinted={"verifier": "probe_verifiers:same_inline"},
    orders={"verifier": "probe_verifiers:obedient", "timeout_s": 0.5, "weight": 3.0},
)


@pytest.fixture(scope="module")
def scorer() -> Iterator[RoutedScorer]:
    with RoutedScorer(ROUTES, workers=1) as scorer:
        yield scorer


def test_each_sample_goes_to_the_verifier_of_its_data_set_and_comes_back_in_order(scorer: RoutedScorer) -> None:
    verdicts = scorer.score(
        [
            sample("Paris", gold="paris", dataset="words"),
            sample(r"\boxed{46}", gold="46"),
            sample("x", gold="x", dataset="half"),
            sample(r"\boxed{45}", gold="46"),
            sample("Rome", gold="paris", dataset="words"),
        ]
    )
    assert [verdict.score for verdict in verdicts] == [1.0, 2.0, 0.5, 0.0, 0.0]
    judged_by = [verdict.version.partition("@")[0] for verdict in verdicts]
    assert judged_by == ["text.exact", "math.equivalent", "probe.same", "math.equivalent", "text.exact"]
    assert all(verdict.version.partition("@")[2] for verdict in verdicts)
    assert all(verdict.milliseconds > 0 for verdict in verdicts)


def test_the_later_correct_answer_is_paid_although_one_before_it_never_ends(scorer: RoutedScorer) -> None:
    hang = "math_verify 9^{9^{9^{9}}}"
    orders = [sample(text, dataset="orders") for text in ("score 1", hang, "score 0.5")]
    hard = [sample(rf"\boxed{{{text}}}", gold=r"\sqrt2") for text in ("9^{9^{9^{9}}}", r"\frac{2}{\sqrt2}")]
    verdicts = scorer.score(orders + hard)
    assert [verdict.score for verdict in verdicts] == [3.0, 0.0, 1.5, 0.0, 2.0]
    assert [verdict.fault for verdict in verdicts] == [None, Fault.POLICY, None, None, None]
    assert verdicts[1].version == "probe.obedient@1"


def test_verdicts_do_not_depend_on_the_thread_that_asks(scorer: RoutedScorer) -> None:
    scores: list[float | None] = []
    samples = [sample(r"\boxed{\sqrt{12}}", gold=r"2\sqrt3"), sample(r"\boxed{\sqrt{13}}", gold=r"2\sqrt3")]
    thread = threading.Thread(target=lambda: scores.extend(verdict.score for verdict in scorer.score(samples)))
    thread.start()
    thread.join(30)
    assert scores == [2.0, 0.0]


def test_the_same_sample_is_judged_once_and_a_changed_one_again(scorer: RoutedScorer) -> None:
    first, second = scorer.score([sample("pid", dataset="orders", turn=1)] * 2)
    assert first.parsed == second.parsed
    assert first.milliseconds == second.milliseconds > 0
    again = scorer.score([sample("pid", dataset="orders", turn=1)])[0]
    assert (again.parsed, again.milliseconds) == (first.parsed, 0.0)
    assert scorer.score([sample("pid", dataset="orders", turn=2)])[0].milliseconds > 0


def test_an_infra_fault_is_tried_once_more(scorer: RoutedScorer, tmp_path: Path) -> None:
    once = sample(f"killed_once {tmp_path / 'marker'}", dataset="orders")
    always = sample("killed", dataset="orders")
    recovered, lost = scorer.score([once, always])
    assert (recovered.fault, recovered.score) == (None, 3.0)
    assert (lost.fault, lost.score) == (Fault.INFRA, None)


def test_a_fault_is_not_remembered(scorer: RoutedScorer, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    marker.touch()
    late = sample("raise", dataset="orders")
    assert scorer.score([late])[0].milliseconds > 0
    assert scorer.score([late])[0].milliseconds > 0


def test_inline_verifiers_see_missing_columns_and_gold_as_gold_faults(scorer: RoutedScorer) -> None:
    no_hint = scorer.score([sample("a", gold="a", dataset="hinted")])[0]
    hinted = scorer.score([sample("a", gold="a", dataset="hinted", hint="b")])[0]
    assert (no_hint.fault, no_hint.score) == (Fault.GOLD, None)
    assert "has no hint" in no_hint.reason
    assert hinted.score == 1.0


def test_a_sample_without_a_route_raises(scorer: RoutedScorer) -> None:
    with pytest.raises(RewardError, match=r"its `dataset` is 'sum': did you mean `sums`\?"):
        scorer.score([sample("a", gold="a", dataset="sum")])


def test_a_broken_contract_raises_and_is_not_a_low_score(scorer: RoutedScorer) -> None:
    with pytest.raises(RewardError, match=r"within \[0, 1\]"):
        scorer.score([sample("score 7", dataset="orders")])


def test_samples_can_be_routed_by_a_column_with_a_route_for_the_rest() -> None:
    by_topic = rewards("topic", place={"verifier": "text.exact"}, **{"*": {"verifier": "text.contains"}})
    with RoutedScorer(by_topic, workers=1) as scorer:
        verdicts = scorer.score(
            [
                sample("It is Rome", gold="Rome", topic="place"),
                sample("It is Rome", gold="Rome", topic="other"),
                sample("It is Rome", gold="Rome"),
            ]
        )
    assert [verdict.score for verdict in verdicts] == [0.0, 1.0, 1.0]


def test_wrong_verifiers_and_parameters_are_known_before_the_first_sample() -> None:
    with pytest.raises(RewardError, match="did you mean `where`"):
        RoutedScorer(rewards(sums={"verifier": "math.equivalent", "params": {"were": "auto"}}), workers=1)


def test_what_may_be_judged_otherwise_the_next_time_is_never_remembered() -> None:
    with RoutedScorer(rewards(sums={"verifier": "probe_verifiers:random_score"}), workers=1) as scorer:
        verdicts = scorer.score([sample("same")] * 3) + scorer.score([sample("same")])
    assert len({verdict.parsed for verdict in verdicts}) == 4


def test_groups_are_judged_whole_and_remembered_whole() -> None:
    def group_of(name: str, *texts: str) -> list[Sample]:
        return [replace(sample(text), id=f"{name}#{n}", group=name) for n, text in enumerate(texts)]

    with RoutedScorer(rewards(sums={"verifier": "probe_verifiers:group"}), workers=1) as scorer:
        assert scorer.by_group(sample("x"))
        first = scorer.score([*group_of("one", "a", "a", "aa"), *group_of("two", "a", "a", "a")])
        again = scorer.score(group_of("three", "a", "a", "aa"))
        other = scorer.score(group_of("four", "a", "aa", "a"))
    assert [verdict.score for verdict in first] == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert [verdict.score for verdict in again] == [0.0, 0.0, 1.0]
    assert [verdict.milliseconds for verdict in again] == [0.0, 0.0, 0.0], "an equal group, whatever its name"
    assert [verdict.score for verdict in other] == [0.0, 1.0, 0.0]
    assert other[1].milliseconds > 0, "another order is another group"


def test_only_routes_with_a_verifier_of_groups_hold_samples_back(scorer: RoutedScorer) -> None:
    assert not scorer.by_group(sample("x"))
    tree = {"gate": {"verifier": "text.exact"}, "then": {"verifier": "probe_verifiers:group"}}
    with RoutedScorer(rewards(sums=tree, words={"verifier": "text.exact"}), workers=1) as mixed:
        assert mixed.by_group(sample("x"))
        assert not mixed.by_group(sample("x", dataset="words"))


def test_what_is_wrong_with_a_route_is_said_with_its_name() -> None:
    tree = {"sum": [{"verifier": "text.exact"}, {"verifier": "text.exact"}]}
    with pytest.raises(RewardError, match=r"rewards\.routes\.sums: sum\.1\.verifier: another part .* give one of them"):
        RoutedScorer(rewards(sums=tree), workers=1)


def test_where_programs_cannot_be_contained_the_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise SandboxError("no namespaces here")

    monkeypatch.setattr(scorer_module, "require_containment", refuse)
    RoutedScorer(rewards(sums={"verifier": "text.exact"}), workers=1).close()
    with pytest.raises(SandboxError, match="no namespaces"):
        RoutedScorer(rewards(sums={"verifier": "probe_verifiers:contained"}), workers=1)


def test_equal_answers_of_a_group_share_a_verdict_through_a_whole_tree(scorer: RoutedScorer) -> None:
    tree = {"gate": {"verifier": "text.exact"}, "then": {"verifier": "probe_verifiers:obedient"}}
    with RoutedScorer(rewards(sums=tree), workers=1) as composed:
        first, second = composed.score([replace(sample("pid", gold="pid"), id=str(n), group="g") for n in range(2)])
    assert first.parsed == second.parsed is not None
    assert first.milliseconds == second.milliseconds
