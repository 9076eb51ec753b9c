"""Lean 4 proofs: the answer must prove exactly the gold's statement, and the kernel reports the axioms it rests on.

Three modules are compiled. The first states the gold's theorem, without access to the answer. The second holds the
answer. The third imports both, requires that the answer's theorem has the same type as the gold's (compared by the
compiler and not as text), and prints the axioms that it uses. The answer therefore cannot change the statement by
shadowing a name, adding a hypothesis or opening a namespace, and it cannot print the axioms itself. Only propext,
Classical.choice and Quot.sound are allowed. Code that changes the meaning of other code, runs at compile time, or
replaces a missing proof is rejected before compilation.

The toolchain is optional: if `lean` cannot be started, verdicts are infra faults, except those from checks that do not
need it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from rewards import lean_text
from rewards.extraction import OnMany
from rewards.fenced_blocks import fenced_or_whole
from rewards.lean_toolchain import Compiled, ToolchainError, compile_lean
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

ALLOWED_AXIOMS = frozenset({"propext", "Classical.choice", "Quot.sound"})
_THEOREM = re.compile(r"\s*(?:theorem|lemma)\s+([^\s:({\[\u2983.][^\s:({\[\u2983]*)(?=[\s:({\[\u2983])")
_OPEN_END = re.compile(r"\s*:=(?:\s*by)?(?:\s*sorry)?\s*\Z")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_REFUSED = lean_text.RUNS_CODE | lean_text.REDEFINES | lean_text.PROVES_NOTHING
_MOST_PINNED = 64

_ONE = "theorem one_add_one : 1 + 1 = 2"
_SWAP = {"statement": "theorem swap (p q : Prop) (h : p \u2227 q) : q \u2227 p := by sorry"}
CASES = (
    Case(response=f"```lean\n{_ONE} := rfl\n```", gold=_ONE, expect="accept"),
    Case(response="by\n  exact \u27e8h.2, h.1\u27e9", gold=_SWAP, expect="accept", note="only the proof"),
    Case(
        response=f"theorem helper : 1 + 1 = 2 := by decide\n-- no axiom here\n{_ONE} := helper",
        gold=_ONE,
        expect="accept",
        note="a lemma before it, and a comment",
    ),
    Case(response="It is obvious.", gold=_ONE, expect="reject"),
    Case(response="theorem another : 1 + 1 = 2 := rfl", gold=_ONE, expect="reject", note="another name"),
    Case(response=f"```lean\n{_ONE} := rfl", gold=_ONE, expect="reject", note="cut off"),
    Case(response=f"{_ONE} := by sorry", gold=_ONE, expect="adversarial"),
    Case(response=f"axiom cheat : False\n{_ONE} := cheat.elim", gold=_ONE, expect="adversarial"),
    Case(response=f"{_ONE} := by native_decide", gold=_ONE, expect="adversarial"),
    Case(response=f'macro "rfl" : term => `(sorryAx _)\n{_ONE} := rfl', gold=_ONE, expect="adversarial"),
    Case(response=f'notation "2" => 1 + 1\n{_ONE} := rfl', gold=_ONE, expect="adversarial", note="another statement"),
    Case(response=f"set_option debug.skipKernelTC true\n{_ONE} := rfl", gold=_ONE, expect="adversarial"),
    Case(response=f'#eval IO.println "no axioms"\n{_ONE} := rfl', gold=_ONE, expect="adversarial"),
    Case(response=f"{_ONE} := \u00absorryAx\u00bb _ true", gold=_ONE, expect="adversarial", note="a quoted name"),
    Case(response=f"/- -/ axiom c : False /- -/\n{_ONE} := c.elim", gold=_ONE, expect="adversarial", note="comments"),
    Case(response=f"```\n{_ONE} := rfl\n```\n```\n{_ONE} := by decide\n```", gold=_ONE, expect="adversarial"),
)


@verifier(name="lean.proof", version="2", isolation="remote", timeout_s=240.0, largest_batch=2, cases=CASES)
async def proof(
    sample: Sample,
    *,
    on_many: OnMany = "reject",
    lean: str = "lean",
    lean_path: str = "",
    compile_seconds: float = 60.0,
    memory_mib: int = 8192,
) -> Verdict:
    """1 when the answer compiles to a proof of the gold's statement from allowed axioms, otherwise 0.

    Args:
        sample: Its gold is the theorem up to its `:=`, or a mapping with the theorem as `statement`, and `imports` (a
            list of modules) and `opening` (lines such as `open Nat`) that precede it. The answer is Lean code that
            contains the theorem, alone or in a fenced block, or only the proof, from `:=` or `by` on.
        on_many: Whether several different blocks are rejected or the last one counts.
        lean: The compiler, as a path or as a name that is found on PATH.
        lean_path: Folders with compiled libraries such as Mathlib, in the form of LEAN_PATH.
        compile_seconds: Time limit of each of the three compilations; a proof that takes longer is a policy fault.
        memory_mib: Memory limit of Lean.
    """
    gold = _read_gold(sample.gold)
    if isinstance(gold, str):
        return Verdict(fault=Fault.GOLD, reason=gold)
    found = fenced_or_whole(sample.response, languages=("lean", "lean4"), on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    code, reason = _checked_code(found.text, gold)
    if reason:
        return Verdict(score=0.0, parsed=code[:2000], reason=reason, tags=("refused",))
    libraries = [folder for folder in lean_path.split(":") if folder]
    compiler = _Compiler(lean=lean, libraries=libraries, seconds=compile_seconds, memory_mib=memory_mib)
    try:
        return await _proved(gold, code, compiler)
    except ToolchainError as error:
        return Verdict(fault=Fault.INFRA, reason=str(error), marks=(Mark.PERMANENT,) if error.is_missing else ())


class _Gold(NamedTuple):
    name: str
    statement: str
    """The statement without its final `:=`."""
    imports: tuple[str, ...]
    opening: str


class _Compiler(NamedTuple):
    lean: str
    libraries: list[str]
    seconds: float
    memory_mib: int

    async def __call__(self, source: Path, text: str, *, search_path: Sequence[Path]) -> Compiled:
        source.write_text(text, encoding="utf-8")
        return await compile_lean(
            source,
            lean=self.lean,
            search_path=[*search_path, *self.libraries],
            seconds=self.seconds,
            memory_mib=self.memory_mib,
        )


async def _proved(gold: _Gold, code: str, compiler: _Compiler) -> Verdict:
    """Compile the modules and return the verdict.

    Raises:
        ToolchainError: the compiler is missing, or fails by itself.
    """
    with tempfile.TemporaryDirectory(prefix="lean-proof-") as folder:
        given, answered = Path(folder, "given"), Path(folder, "answered")
        given.mkdir()
        answered.mkdir()
        # Names that the answer cannot predict, so that it cannot refer to them.
        nonce = uuid.uuid4().hex
        pinned, answer, check = _pinned_name(gold), f"RlpostAnswer{nonce}", f"rlpost_check_{nonce}"
        reason = await _pin(gold, given / f"{pinned}.lean", compiler)
        if reason:
            return Verdict(fault=Fault.GOLD, reason=reason)
        before = _header(gold)
        result = await compiler(answered / f"{answer}.lean", f"{before}{code}\n", search_path=[answered])
        if result.exit_code is None:
            return Verdict(fault=Fault.POLICY, reason=f"the proof {result.reason}")
        if result.exit_code != 0:
            return Verdict(score=0.0, parsed=code[:2000], reason=f"does not compile: {_first_error(result.output)}")
        text = (
            f"import {pinned}\nimport {answer}\n"
            f"theorem {check} : type_of% @{pinned}.{gold.name} := @{gold.name}\n#print axioms {check}\n"
        )
        result = await compiler(answered / f"Check{nonce}.lean", text, search_path=[answered, given])
    if result.exit_code is None:
        return Verdict(fault=Fault.POLICY, reason=f"the check of the proof {result.reason}")
    if result.exit_code != 0:
        return Verdict(score=0.0, parsed=code[:2000], reason="proves another statement", tags=("refused",))
    return _axiom_verdict(result.output, check=check, code=code)


def _axiom_verdict(output: str, *, check: str, code: str) -> Verdict:
    said = re.findall(rf"'{check}' (?:depends on axioms: \[([^\]]*)\]|does not depend on any axioms)", output)
    if len(said) != 1:
        raise ToolchainError(f"Lean did not name the axioms of the proof: {output!r:.200}")
    axioms = {name.strip() for name in said[0].split(",") if name.strip()}
    foreign = sorted(axioms - ALLOWED_AXIOMS)
    if foreign:
        reason = f"rests on {', '.join(foreign)}"[:200]
        return Verdict(score=0.0, parsed=code[:2000], reason=reason, tags=("refused",))
    return Verdict(score=1.0, parsed=code[:2000], reason="proved")


_pinned: dict[tuple[_Gold, str, tuple[str, ...]], bytes] = {}
"""Compiled statements, which all responses of a group share."""


async def _pin(gold: _Gold, source: Path, compiler: _Compiler) -> str:
    """Put the compiled statement of the gold at `source`; return the reason if that fails, else an empty text.

    Raises:
        ToolchainError: it took too long, which is not the gold's fault.
    """
    key = (gold, compiler.lean, tuple(compiler.libraries))
    compiled = source.with_suffix(".olean")
    if key in _pinned:
        compiled.write_bytes(_pinned[key])
        return ""
    module = source.stem
    text = f"{_header(gold)}namespace {module}\n{gold.statement} := by sorry\nend {module}\n"
    result = await compiler(source, text, search_path=[])
    if result.exit_code is None:
        raise ToolchainError(f"compiling the gold's statement {result.reason}")
    if result.exit_code != 0:
        if "error" not in result.output:
            raise ToolchainError(f"`{compiler.lean}` ended with exit code {result.exit_code}: {result.output!r:.200}")
        return f"the gold's statement does not compile: {_first_error(result.output)}"
    if not compiled.is_file():
        raise ToolchainError(f"`{compiler.lean}` wrote no .olean file")
    while len(_pinned) >= _MOST_PINNED:
        del _pinned[next(iter(_pinned))]
    _pinned[key] = compiled.read_bytes()
    return ""


def _checked_code(text: str, gold: _Gold) -> tuple[str, str]:
    """Return the code to compile, and the reason if it is rejected, else an empty text."""
    if len(text) > lean_text.LONGEST_CODE or "\0" in text or text.encode(errors="replace").decode() != text:
        return "", f"not text of at most {lean_text.LONGEST_CODE} characters"
    code = lean_text.without_imports(lean_text.without_comments(text), allowed=gold.imports).strip()
    if code.startswith((":=", "by ", "by\n")):
        code = f"{gold.statement} {'' if code.startswith(':=') else ':= '}{code}"
    word = lean_text.refused_word(code, words=_REFUSED)
    if word is not None:
        return code, f"`{word}` is refused"
    if not lean_text.begins_with_command(code):
        return code, "does not begin with a declaration"
    stated = re.search(rf"(?:theorem|lemma)\s+{re.escape(gold.name)}(?=[\s:({{\[\u2983])", code)
    return code, "" if stated else f"does not state {gold.name}"


def _read_gold(gold: object) -> _Gold | str:
    """Parse the gold; return the reason if it cannot be read."""
    fields = cast("Mapping[str, object]", gold) if isinstance(gold, Mapping) else {"statement": gold}
    statement, opening = fields.get("statement"), fields.get("opening") or ""
    imports = fields.get("imports") or []
    if not isinstance(statement, str) or not isinstance(opening, str) or not isinstance(imports, list | tuple):
        return "the gold must be a theorem, or a mapping with `statement`, `imports` and `opening`"
    modules = cast("Sequence[object]", imports)
    if not all(isinstance(module, str) and _MODULE.fullmatch(module) for module in modules):
        return "`imports` of the gold must be names of modules"
    statement = _OPEN_END.sub("", lean_text.without_comments(statement))
    named = _THEOREM.match(statement)
    if named is None or ":" not in statement[named.end() :]:
        return f"the gold {statement!r:.100} must begin with `theorem` or `lemma`, a name, and what it states"
    opening = lean_text.without_comments(opening)
    word = lean_text.refused_word(f"{opening}\n{statement}", words=lean_text.RUNS_CODE | lean_text.PROVES_NOTHING)
    if word is not None:
        return f"the gold has `{word}` in it, which is refused"
    return _Gold(
        name=named[1], statement=statement.strip(), imports=tuple(cast("Sequence[str]", modules)), opening=opening
    )


def _header(gold: _Gold) -> str:
    return "".join(f"import {module}\n" for module in gold.imports) + f"{gold.opening}\n"


def _pinned_name(gold: _Gold) -> str:
    return f"RlpostPinned{hashlib.sha256(repr(gold).encode()).hexdigest()[:32]}"


def _first_error(output: str) -> str:
    line = next((line for line in output.splitlines() if "error" in line), "")
    return line.partition("error")[2].strip(": ")[:200] or "no message"
