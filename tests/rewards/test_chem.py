from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rewards.chem import CONSTRAINT_CASES, SMILES_CASES, constraint, smiles
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, Verifier, case_failure

CASES = [(smiles, case) for case in SMILES_CASES] + [(constraint, case) for case in CONSTRAINT_CASES]


def judged(verifier: Verifier, response: str, gold: Any, **params: Any) -> Verdict:
    return verifier.judge(Sample(id="s", prompt="", response=response, gold=gold), params=params)


@pytest.mark.parametrize(("verifier", "case"), CASES, ids=[case.response[:30] for _, case in CASES])
def test_cases(verifier: Verifier, case: Case) -> None:
    verdict = verifier.judge(case.sample(), params=verifier.validated(case.params))
    assert case_failure(verifier, case, verdict=verdict) is None


@pytest.mark.parametrize("gold", ["", 3, [], ["CCO", 3], "C(C", "ethanol", "C*", "CCO CCN", {"formula": "C"}])
def test_a_gold_that_is_no_molecule_is_a_gold_fault(gold: Any) -> None:
    assert judged(smiles, "CCO", gold).fault is Fault.GOLD


@pytest.mark.parametrize(
    "gold",
    [
        {},
        {"fragments": 1},
        {"formula": None},
        "C4H8O2",
        {"formula": "C4Xx2"},
        {"formula": "c4"},
        {"formula": 3},
        {"contains": "C=O"},
        {"contains": []},
        {"contains": ["xxx("]},
        {"excludes": [""]},
        {"rings": 1.0},
        {"rings": True},
        {"colour": "red"},
    ],
)
def test_constraints_that_cannot_be_read_are_a_gold_fault(gold: Any) -> None:
    assert judged(constraint, "CCO", gold).fault is Fault.GOLD


@pytest.mark.parametrize(
    ("answer", "gold", "stereo", "score"),
    [
        ("C/C=C/C", r"C/C=C\C", "exact", 0.0),
        ("C/C=C/C", r"C/C=C\C", "ignore", 1.0),
        ("CC=CC", r"C/C=C\C", "exact", 0.0),
        ("[13CH4]", "C", "exact", 0.0),
        ("[CH3:7][OH:2]", "CO", "exact", 1.0),
        ("[H]C([H])([H])O", "CO", "exact", 1.0),
        ("[Na+].[Cl-]", "[Cl-].[Na+]", "exact", 1.0),
    ],
)
def test_equal_molecules_have_one_canonical_form(answer: str, gold: str, stereo: str, score: float) -> None:
    assert judged(smiles, rf"\boxed{{{answer}}}", gold, stereo=stereo).score == score


def test_similarity_is_a_part_and_is_paid_only_when_asked_for() -> None:
    verdict = judged(smiles, "CCCO", "CCO", partial=True)
    assert verdict.parts["tanimoto"] == pytest.approx(0.5556, abs=1e-4)
    assert verdict.score == pytest.approx(0.9 * verdict.parts["tanimoto"])
    assert judged(smiles, "CCCO", "CCO").score == 0.0
    mirrored = judged(smiles, "C[C@@H](N)C(O)=O", "C[C@H](N)C(O)=O", partial=True)
    assert (mirrored.parts["tanimoto"], mirrored.score) == (1.0, 0.9)


def test_salts_are_taken_from_both_sides_but_not_any_number_of_them() -> None:
    def score(answer: str, gold: str) -> float | None:
        return judged(smiles, answer, gold, fragments="without_salts").score

    assert score("CCN", "CCN.Cl") == 1.0
    assert score("CCN.Cl.Br.I.F", "CCN") == 0.0
    assert score("[Na+].[Cl-]", "CCN") == 0.0


@pytest.mark.parametrize(
    ("answer", "gold", "broken"),
    [
        ("C1CC1", {"rings": 1}, None),
        ("C1CC1", {"min_rings": 2}, "min_rings"),
        ("C1CC1", {"max_rings": 0}, "max_rings"),
        ("CCO", {"min_heavy_atoms": 4}, "min_heavy_atoms"),
        ("CCO", {"max_heavy_atoms": 2}, "max_heavy_atoms"),
        ("C[NH3+]", {"formula": "CH6N+"}, None),
        ("C[NH3+]", {"formula": "CH6N"}, None),
        ("C[NH3+]", {"formula": "CH6N-"}, "formula"),
        ("CCO", {"contains": ["N"]}, "contains N"),
        ("CCO", {"excludes": ["O"]}, "excludes O"),
        ("CC(=O)[O-].[Na+]", {"charge": 0}, "fragments"),
        ("CC(=O)[O-].[Na+]", {"charge": 0, "fragments": 2}, None),
        ("[CH3]", {"formula": "CH3"}, "radical_electrons"),
        ("[CH3]", {"formula": "CH3", "radical_electrons": 1}, None),
    ],
)
def test_each_constraint_is_checked(answer: str, gold: Mapping[str, Any], broken: str | None) -> None:
    verdict = judged(constraint, answer, gold)
    assert verdict.score == float(broken is None)
    assert [name for name, value in verdict.parts.items() if not value] == ([broken] if broken else [])


def test_the_share_of_constraints_is_paid_only_for_one_sound_molecule() -> None:
    gold = {"contains": ["O"], "rings": 1, "max_heavy_atoms": 9}
    assert judged(constraint, "CCO", gold, partial=True).score == pytest.approx(2 / 3)
    assert judged(constraint, "CCO.C1CC1", gold, partial=True).score == 0.0


@pytest.mark.parametrize(
    "text", ["(" * 1999, "C(" * 900, "[" * 1999, "C1" * 900, "C1CC1" * 390, "[C@@]" * 390, "[U+999]"]
)
def test_odd_smiles_get_nothing(text: str) -> None:
    assert [judged(smiles, text, "CCO").score, judged(constraint, text, {"formula": "C2H6O"}).score] == [0.0, 0.0]


@pytest.mark.parametrize(
    "response",
    [
        "CCO",
        "OCC",
        "CCO.",
        "`CCO`",
        '"CCO"',
        "**CCO**",
        "The answer is CCO.",
        "The SMILES is CCO",
        "The SMILES of ethanol is `CCO`.",
        "SMILES: CCO",
        "Answer: CCO",
        "So the molecule is: CCO",
        "CCO (ethanol)",
        r"\boxed{CCO}",
        r"\boxed{\text{CCO}}",
        r"$\boxed{\mathrm{CCO}}$",
        r"\boxed{\texttt{CCO}}",
        r"\boxed{CCO} is \boxed{OCC}",
        "<answer>CCO</answer>",
        "```\nCCO\n```",
        "```smiles\nCCO\n```",
        "Here it is:\n\n```\nCCO\n```",
        "<think>CCN</think>CCO",
    ],
)
def test_smiles_is_read_from_boxes_tags_fences_and_sentences(response: str) -> None:
    assert judged(smiles, response, "CCO").score == 1.0


def test_escaped_signs_and_bonds_with_direction_are_read() -> None:
    assert judged(smiles, r"\boxed{CC\#N}", "CC#N").score == 1.0
    assert judged(smiles, r"\boxed{C/C=C\C}", r"C/C=C\C").score == 1.0
    assert judged(smiles, r"\boxed{C/C=C/C}", r"C/C=C\C").score == 0.0


@pytest.mark.parametrize(
    "response",
    [
        "CCN",
        "The answer is not CCO.",
        "The answer is CCO or CCN",
        "CCN is CCO",
        "CCO, CCN",
        "CCN CCO",
        "It is CCO, not CCN",
        r"\boxed{CCO} \boxed{CCN}",
        r"\boxed{CCO}. The answer is CCN.",
        "<answer>CCN</answer>",
        "<think>CCO",
        "ethanol",
        "If it were CCO",
    ],
)
def test_another_molecule_or_several_are_not_paid(response: str) -> None:
    assert judged(smiles, response, "CCO").score == 0.0


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("CCCNNNNN", {"formula": "C3H13N5"}, 0.0),
        ("CNN(N)C", {"formula": "C2H9N3"}, 0.0),
        ("COOOC", {"formula": "C2H6O3"}, 0.0),
        ("C1#CCCC1", {"rings": 1}, 0.0),
        ("CC(O)(O)O", {"formula": "C2H6O3"}, 0.0),
        ("CNN", {"formula": "CH6N2"}, 1.0),
        ("COOC", {"formula": "C2H6O2"}, 1.0),
        ("CN=[N+]=[N-]", {"formula": "CH3N3"}, 1.0),
        ("C[N+](=O)[O-]", {"formula": "CH3NO2"}, 1.0),
        ("CO[N+](=O)[O-]", {"formula": "CH3NO3"}, 1.0),
        ("c1ccc2[nH]nnc2c1", {"formula": "C6H5N3"}, 1.0),
        ("NC(=O)NN", {"formula": "CH5N3O"}, 1.0),
    ],
)
def test_a_molecule_that_cannot_be_made_fits_no_constraint(answer: str, gold: Mapping[str, Any], score: float) -> None:
    assert judged(constraint, answer, gold).score == score
    if not score:
        assert judged(constraint, answer, gold, plausible=False).score == 1.0
