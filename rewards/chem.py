"""Chemistry: the answer is a molecule in SMILES that equals the gold or meets constraints, checked by rdkit.

These verifiers run in a process, because rdkit is C++ and some texts crash it. An answer is SMILES alone, without a
name after it, without wildcard atoms, and within size limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from rewards import chem_molecules as molecules
from rewards.chem_molecules import MoleculeError, canonical, read_molecule, smiles_in
from rewards.extraction import OnMany, Where, final_answer
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

Stereo = Literal["exact", "ignore"]
Fragments = Literal["exact", "without_salts"]
_MOST_FRAGMENTS = 4
_PAID_FOR_SIMILARITY = 0.9

SMILES_CASES = (
    Case(response="Answer: OCC", gold="CCO", expect="accept", note="another way to write it"),
    Case(response=r"\boxed{C1=CC=CC=C1}", gold="c1ccccc1", expect="accept", note="Kekule and aromatic"),
    Case(response="N[C@@H](C)C(=O)O", gold="C[C@H](N)C(O)=O", expect="accept"),
    Case(response="CCN.Cl", gold="CCN", params={"fragments": "without_salts"}, expect="accept"),
    Case(response="`CC(=O)C`", gold=["CCC=O", "CC(C)=O"], expect="accept", note="any gold of a list"),
    Case(response="CCN", gold="CCO", expect="reject"),
    Case(response="C[C@@H](N)C(O)=O", gold="C[C@H](N)C(O)=O", expect="reject", note="the mirror image"),
    Case(response="CC(C)(C)(C)C", gold="CC(C)(C)C", expect="reject", note="five bonds at a carbon"),
    Case(response="ethanol", gold="CCO", expect="reject"),
    Case(response="CCO.Cl", gold="CCO", expect="reject", note="another salt"),
    Case(response="The answer is CCO.", gold="CCO", expect="accept", note="in a sentence"),
    Case(response="CCO.CCN.CCC", gold="CCO", expect="adversarial", note="all candidates as one mixture"),
    Case(response="CCO.CCN", gold="CCO", params={"fragments": "without_salts"}, expect="adversarial"),
    Case(response="CCN CCO", gold="CCO", expect="adversarial", note="a second answer as the molecule's name"),
    Case(response=r"\boxed{CCO} or \boxed{CCN}", gold="CCO", expect="adversarial", note="hedged"),
    Case(response="*CO", gold="CCO", expect="adversarial", note="a wildcard"),
    Case(response="C" * 100_000, gold="CCO", expect="adversarial", note="huge"),
    Case(response="\u0421\u0421\u041e", gold="CCO", expect="adversarial", note="Cyrillic letters"),
)
_ACID = {"formula": "C4H8O2", "contains": ["C(=O)[OX2H1]"], "excludes": ["[CX3H1]=O"], "rings": 0}
CONSTRAINT_CASES = (
    Case(response="CCCC(=O)O", gold=_ACID, expect="accept"),
    Case(response=r"\boxed{CC(C)C(O)=O}", gold=_ACID, expect="accept", note="any molecule that fits"),
    Case(response="C[NH3+]", gold={"charge": 1, "max_heavy_atoms": 3}, expect="accept"),
    Case(response="CCC(=O)O", gold=_ACID, expect="reject", note="another formula"),
    Case(response="CCC(=O)OC", gold=_ACID, expect="reject", note="an ester"),
    Case(
        response="CCC(=O)OC", gold=_ACID, params={"partial": True}, expect="reject", at_most=0.75, note="three of four"
    ),
    Case(response="butanoic acid", gold=_ACID, expect="reject"),
    Case(response="CCCO.C=O", gold={"formula": "C4H10O2"}, expect="adversarial", note="two molecules add up"),
    Case(response="C[N+](C)(C)C.[Cl-]", gold={"contains": ["[N+]"], "charge": 0}, expect="adversarial"),
    Case(response="*C(=O)O", gold={"contains": ["C(=O)[OX2H1]"]}, expect="adversarial", note="a wildcard"),
    Case(response="CCCNNNNN", gold={"formula": "C3H13N5"}, expect="adversarial", note="no such molecule can be made"),
    Case(response="[C][O]", gold={"formula": "CO"}, expect="adversarial", note="open valences"),
    Case(response="C" * 100_000, gold={"min_heavy_atoms": 3}, expect="adversarial", note="huge"),
)


@verifier(name="chem.smiles", version="2", memory_mib=2048, extra="chem", modules=("rdkit",), cases=SMILES_CASES)
def smiles(
    sample: Sample,
    *,
    where: Where = "auto",
    on_many: OnMany = "reject",
    stereo: Stereo = "exact",
    fragments: Fragments = "exact",
    partial: bool = False,
    max_atoms: int = 300,
) -> Verdict:
    """1 when the answer is the molecule of the gold, by canonical SMILES, otherwise 0.

    Args:
        sample: Its gold is SMILES, or a list of SMILES of which any is right.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        stereo: Whether stereochemistry and isotopes count.
        fragments: Whether counter-ions and solvents that rdkit knows are removed from both sides.
        partial: Give a valid but different molecule 0.9 times its Tanimoto similarity as the score.
        max_atoms: Largest number of atoms of an accepted answer.
    """
    written = cast("Sequence[object]", sample.gold) if isinstance(sample.gold, list | tuple) else [sample.gold]
    try:
        golds = [read_molecule(one if isinstance(one, str) else "", max_atoms=10_000) for one in written]
    except MoleculeError as error:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not SMILES: {error}")
    if not golds:
        return Verdict(fault=Fault.GOLD, reason="the gold is an empty list")
    answer = _answer(sample, where=where, on_many=on_many, max_atoms=max_atoms)
    if isinstance(answer, Verdict):
        return answer
    if fragments == "without_salts":
        if molecules.fragment_count(answer) > _MOST_FRAGMENTS:
            return Verdict(score=0.0, reason=f"more than {_MOST_FRAGMENTS} fragments", tags=("stuffed",))
        answer, golds = molecules.without_salts(answer), [molecules.without_salts(gold) for gold in golds]
    with_stereo = stereo == "exact"
    text = canonical(answer, stereo=with_stereo)
    equal = any(text == canonical(gold, stereo=with_stereo) for gold in golds)
    nearest = max(molecules.similarity(answer, gold) for gold in golds)
    score = 1.0 if equal else _PAID_FOR_SIMILARITY * nearest if partial else 0.0
    reason = "equal" if equal else "another molecule"
    return Verdict(score=score, parts={"tanimoto": nearest}, parsed=text, reason=reason)


@verifier(
    name="chem.constraint", version="2", memory_mib=2048, extra="chem", modules=("rdkit",), cases=CONSTRAINT_CASES
)
def constraint(
    sample: Sample,
    *,
    where: Where = "auto",
    on_many: OnMany = "reject",
    partial: bool = False,
    max_atoms: int = 300,
    plausible: bool = True,
) -> Verdict:
    """1 when the answer is a valid molecule within every constraint of the gold, otherwise 0.

    The answer must be one connected molecule without radical electrons, unless the gold says otherwise: counter-ions
    that fill up a formula or a charge are rejected.

    Args:
        sample: Its gold is a mapping with at least one of `formula`, `contains` and `excludes` (lists of SMARTS),
            `min_heavy_atoms`, `max_heavy_atoms`, `rings`, `min_rings`, `max_rings`, `charge`; and optionally
            `fragments` and `radical_electrons`, whose defaults are 1 and 0.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        partial: Give the share of the named constraints that hold as the score, if fragments and radical electrons are
            right.
        max_atoms: Largest number of atoms of an accepted answer.
        plausible: Reject a molecule that no chemist would expect to exist, such as a chain of five nitrogen atoms.
    """
    try:
        checks = _checks(sample.gold)
    except MoleculeError as error:
        return Verdict(fault=Fault.GOLD, reason=f"the gold cannot be read: {error!s:.200}")
    answer = _answer(sample, where=where, on_many=on_many, max_atoms=max_atoms)
    if isinstance(answer, Verdict):
        return answer
    strange = molecules.implausible(answer) if plausible else None
    if strange is not None:
        return Verdict(score=0.0, parsed=canonical(answer, stereo=True), reason=f"not plausible: {strange}")
    text = canonical(answer, stereo=True)
    parts = {check.name: float(check.holds(answer)) for check in checks}
    broken = [check.name for check in checks if not parts[check.name]]
    if any(name in broken for name in _ALWAYS):
        return Verdict(score=0.0, parts=parts, parsed=text, reason=f"other {' and '.join(broken)}"[:200])
    named = [value for name, value in parts.items() if name not in _ALWAYS] or [1.0]
    score = sum(named) / len(named) if partial or not broken else 0.0
    reason = f"not within {', '.join(broken)}"[:200] if broken else "all hold"
    return Verdict(score=score, parts=parts, parsed=text, reason=reason)


def _answer(sample: Sample, *, where: Where, on_many: OnMany, max_atoms: int) -> Any:
    """Return the molecule in the response, or the verdict on a response without one."""

    def form(text: str) -> str | None:
        try:
            return canonical(read_molecule(smiles_in(text), max_atoms=max_atoms), stereo=True)
        except MoleculeError:
            return None

    last = final_answer(sample.response, where=where, on_many="last").text
    expected = None if last is None else form(last)
    # Two ways to write one molecule are one answer.
    found = final_answer(
        sample.response,
        where=where,
        on_many=on_many,
        accepts=lambda text: expected is not None and form(text) == expected,
    )
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    try:
        return read_molecule(smiles_in(found.text), max_atoms=max_atoms)
    except MoleculeError as error:
        return Verdict(score=0.0, parsed=found.text[:200], reason=str(error))


class _Check(NamedTuple):
    name: str
    holds: Callable[[Any], bool]


def _heavy_atoms(molecule: Any) -> int:
    return molecule.GetNumHeavyAtoms()


def _rings(molecule: Any) -> int:
    return molecule.GetRingInfo().NumRings()


def _charge(molecule: Any) -> int:
    return sum(atom.GetFormalCharge() for atom in molecule.GetAtoms())


def _radical_electrons(molecule: Any) -> int:
    return sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())


_ALWAYS = {"fragments": 1, "radical_electrons": 0}
_COUNTS: Mapping[str, tuple[Callable[[Any], int], Callable[[int, int], bool]]] = {
    "fragments": (molecules.fragment_count, int.__eq__),
    "radical_electrons": (_radical_electrons, int.__eq__),
    "min_heavy_atoms": (_heavy_atoms, int.__ge__),
    "max_heavy_atoms": (_heavy_atoms, int.__le__),
    "rings": (_rings, int.__eq__),
    "min_rings": (_rings, int.__ge__),
    "max_rings": (_rings, int.__le__),
    "charge": (_charge, int.__eq__),
}


def _checks(gold: object) -> list[_Check]:
    """Return one check per constraint.

    Raises:
        MoleculeError: the gold has no constraint, an unknown one, or a wrong value.
    """
    if not isinstance(gold, Mapping):
        raise MoleculeError(f"{gold!r:.80} is not a mapping")
    named = cast("Mapping[str, object]", gold)
    constraints: dict[str, object] = {**_ALWAYS, **{key: value for key, value in named.items() if value is not None}}
    if constraints.keys() == _ALWAYS.keys():
        raise MoleculeError("no constraint")
    return [check for name, value in constraints.items() for check in _checks_of(name, value)]


def _checks_of(name: str, value: object) -> list[_Check]:
    if name == "formula":
        return [_formula_check(value)]
    if name in ("contains", "excludes"):
        if not isinstance(value, list | tuple) or not value:
            raise MoleculeError(f"{name} must be a list of SMARTS")
        return [_pattern_check(name, pattern) for pattern in cast("Sequence[object]", value)]
    if name not in _COUNTS:
        raise MoleculeError(f"there is no constraint {name!r:.80}")
    if type(value) is not int:
        raise MoleculeError(f"{name} must be a whole number")
    measure, compare = _COUNTS[name]

    def holds(molecule: Any) -> bool:
        return compare(measure(molecule), value)

    return [_Check(name, holds)]


def _formula_check(value: object) -> _Check:
    elements, charge = molecules.read_formula(value)

    def holds(molecule: Any) -> bool:
        return molecules.atoms_by_element(molecule) == elements and charge in (None, _charge(molecule))

    return _Check("formula", holds)


def _pattern_check(name: str, value: object) -> _Check:
    pattern = molecules.read_pattern(value)
    wanted = name == "contains"

    def holds(molecule: Any) -> bool:
        return molecule.HasSubstructMatch(pattern) is wanted

    return _Check(f"{name} {value}", holds)
