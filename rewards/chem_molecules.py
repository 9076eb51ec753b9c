"""Molecules in SMILES as a model may write them, read by rdkit under limits. Use it only in a worker process."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Any

LONGEST_SMILES = 2_000
_ELEMENT = re.compile(r"([A-Z][a-z]?)(\d{0,5})")
_FORMULA = re.compile(r"((?:[A-Z][a-z]?\d{0,5})+)(?:([+-])(\d{0,2}))?")

_QUOTES = " \t\n`'\""
_BEFORE_NAME = re.compile(r"(?P<smiles>\S+)\s+\([a-z][a-z0-9 ,'-]*\)\.?")
_BEHIND_NAME = re.compile(r"(?P<words>[A-Za-z][\w',-]*(?:\s+[\w',-]+){0,12})\s+\((?P<smiles>[^\s]+)\)\.?")
_SENTENCE = re.compile(
    r"(?P<words>[A-Za-z][\w'(),-]*(?:\s+[\w'(),-]+){0,15}?)\s*(?:[:=](?=\s)|\s(?:is|are|be)(?=[\s:])\s*:?)\s*(?P<smiles>\S+)"
)
_NO_SENTENCE = re.compile(r"\b(?!SMILES\b|IUPAC\b)[A-Z][A-Z]+\b|(?i:\b(?:not|or|either|neither|nor|if)\b|n't)")
"""Words before a molecule that negate it or offer another one, or letters that may be another molecule."""
_IMPLAUSIBLE = {
    "a chain of three nitrogen or oxygen atoms": "[NX3+0,OX2+0;!a]-[NX3+0,OX2+0;!a]-[NX3+0,OX2+0;!a]",
    "a triple bond in a small ring": "[r3,r4,r5,r6,r7]#[r3,r4,r5,r6,r7]",
    "two double bonds at one atom of a small ring": "[r3,r4,r5,r6]=[X2;r3,r4,r5,r6]=[r3,r4,r5,r6]",
    "three hydroxy groups at one carbon": "[CX4]([OX2H1])([OX2H1])[OX2H1]",
}
"""SMARTS of groups that fill up a formula but do not occur in stable substances."""


class MoleculeError(Exception):
    """The text is not a molecule, or the molecule is rejected; the message says why in a few words."""


def smiles_in(answer: str) -> str:
    """Return the SMILES that an answer names: alone, quoted, after "the SMILES is", or before or behind its name
    with one of the two in parentheses.

    Any other text is returned as it is.
    """
    text = answer.replace("\\#", "#").replace("\\_", "_").strip().strip("$").strip(_QUOTES)
    named = _BEFORE_NAME.fullmatch(text)
    if named is not None:
        return named["smiles"]
    behind = _BEHIND_NAME.fullmatch(text)
    if behind is not None and _NO_SENTENCE.search(behind["words"]) is None:
        return behind["smiles"]
    sentence = _SENTENCE.fullmatch(text)
    if sentence is None or _NO_SENTENCE.search(sentence["words"]):
        return text.rstrip(".;,")
    return sentence["smiles"].strip(_QUOTES).rstrip(".;,").strip(_QUOTES)


def implausible(molecule: Any) -> str | None:
    """Name a group in the molecule that no chemist would expect to exist; None if there is none."""
    return next((name for name, pattern in _implausible_parts() if molecule.HasSubstructMatch(pattern)), None)


def read_molecule(text: str, *, max_atoms: int) -> Any:
    """Read a molecule, and drop its atom map numbers.

    Raises:
        MoleculeError: the text is not SMILES alone, or the molecule is empty, too large, or has wildcard atoms.
    """
    from rdkit import Chem, rdBase

    text = text.strip().strip("`").strip()
    if not text.isascii() or any(character.isspace() for character in text):
        raise MoleculeError("not SMILES alone")
    if not 0 < len(text) <= LONGEST_SMILES:
        raise MoleculeError(f"not 1 to {LONGEST_SMILES} characters")
    rdBase.DisableLog("rdApp.*")  # otherwise rdkit logs every invalid text to the terminal
    molecule: Any = Chem.MolFromSmiles(text, _parameters())
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise MoleculeError("not a valid molecule")
    if molecule.GetNumAtoms() > max_atoms:
        raise MoleculeError(f"more than {max_atoms} atoms")
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() == 0:
            raise MoleculeError("a wildcard atom")
        atom.SetAtomMapNum(0)
    return molecule


def canonical(molecule: Any, *, stereo: bool) -> str:
    """Return canonical SMILES; written, read and written again, because the first output is not always stable."""
    from rdkit import Chem

    text: str = Chem.MolToSmiles(molecule, isomericSmiles=stereo)
    again: Any = Chem.MolFromSmiles(text)
    return text if again is None else Chem.MolToSmiles(again, isomericSmiles=stereo)


def without_salts(molecule: Any) -> Any:
    """Remove the counter-ions and solvents that rdkit knows, but never the whole molecule."""
    return _salt_remover().StripMol(molecule, dontRemoveEverything=True)


def fragment_count(molecule: Any) -> int:
    """Number of parts that no bond connects."""
    from rdkit import Chem

    return len(Chem.GetMolFrags(molecule))


def similarity(first: Any, second: Any) -> float:
    """Tanimoto similarity of Morgan fingerprints (radius 2, 2048 bits, without stereochemistry)."""
    from rdkit import DataStructs

    generator = _fingerprints()
    return float(DataStructs.TanimotoSimilarity(generator.GetFingerprint(first), generator.GetFingerprint(second)))


def atoms_by_element(molecule: Any) -> Counter[str]:
    """Number of atoms of each element, hydrogens included."""
    from rdkit.Chem import rdMolDescriptors

    return _elements(rdMolDescriptors.CalcMolFormula(molecule))


def read_formula(text: object) -> tuple[Counter[str], int | None]:
    """Read a formula such as `C2H6N+`: atoms by element, and the charge if it is written.

    Raises:
        MoleculeError: the text is not a formula.
    """
    from rdkit import Chem

    match = _FORMULA.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise MoleculeError(f"{text!r:.80} is not a formula")
    table: Any = Chem.GetPeriodicTable()
    try:
        elements = _elements(match[1])
        for element in elements:
            table.GetAtomicNumber(element)
    except RuntimeError as error:
        raise MoleculeError(f"{text!r:.80} has an element that does not exist") from error
    charge = None if match[2] is None else int(f"{match[2]}{match[3] or 1}")
    return elements, charge


def read_pattern(text: object) -> Any:
    """Read a SMARTS pattern.

    Raises:
        MoleculeError: the text is not a SMARTS pattern.
    """
    from rdkit import Chem, rdBase

    rdBase.DisableLog("rdApp.*")
    short = isinstance(text, str) and 0 < len(text) <= LONGEST_SMILES
    pattern: Any = Chem.MolFromSmarts(text) if short else None
    if pattern is None or pattern.GetNumAtoms() == 0:
        raise MoleculeError(f"{text!r:.80} is not a SMARTS pattern")
    return pattern


def _elements(formula: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for element, count in _ELEMENT.findall(formula):
        counts[element] += int(count or 1)
    return counts


@cache
def _parameters() -> Any:
    from rdkit import Chem

    parameters: Any = Chem.SmilesParserParams()
    # By default, rdkit would take text after a blank for a name or an extension instead of reporting an error.
    parameters.parseName = False
    parameters.allowCXSMILES = False
    return parameters


@cache
def _implausible_parts() -> tuple[tuple[str, Any], ...]:
    return tuple((name, read_pattern(smarts)) for name, smarts in _IMPLAUSIBLE.items())


@cache
def _salt_remover() -> Any:
    from rdkit.Chem.SaltRemover import SaltRemover

    return SaltRemover()


@cache
def _fingerprints() -> Any:
    from rdkit.Chem import rdFingerprintGenerator

    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
