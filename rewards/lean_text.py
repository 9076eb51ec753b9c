"""Model-written Lean 4 code as text: removes comments and known imports, and rejects code before a compiler sees it.

The checked text is the compiled text: comments are removed first, so that no difference between this scanner and Lean's
can hide a word.
"""

from __future__ import annotations

import re
from collections.abc import Collection

LONGEST_CODE = 50_000
_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)|--[^\n]*+|/-', re.DOTALL)
_BLOCK_MARK = re.compile(r"/-|-/")
_WORD = re.compile(r"[^\W\d][\w!?']*")
_COMMAND = re.compile(r"#[A-Za-z_]{2,}")
_IMPORT_LINE = re.compile(r"^[ \t]*import[ \t]+([\w.]+)[ \t]*$", re.MULTILINE)

RUNS_CODE = frozenset(
    """
    IO Elab Meta Environment addDecl addAndCompile unsafe implemented_by extern initialize builtin_initialize run_cmd
    run_tac run_elab run_meta by_elab elab elab_rules include_str eval simproc dsimproc builtin_simproc
    """.split()  # noqa: SIM905 - quoted words are harder to read
)
"""Words by which a text acts at compile time: it reads files, starts programs, or writes declarations past the
checker."""
REDEFINES = frozenset(
    """
    macro macro_rules notation notation3 infix infixl infixr prefix postfix syntax declare_syntax_cat term_elab
    command_elab builtin_macro set_option attribute instance deriving local scoped export opaque csimp prelude import
    """.split()  # noqa: SIM905 - quoted words are harder to read
)
"""Words that change the meaning of other text."""
PROVES_NOTHING = frozenset(
    """
    axiom sorry sorryAx admit stop native_decide ofReduceBool reduceBool ofReduceNat reduceNat trustCompiler lcProof
    skipKernelTC Lean
    """.split()  # noqa: SIM905 - quoted words are harder to read
)
"""Words that make Lean accept a statement without a proof that the kernel has checked."""


COMMANDS = frozenset(
    """
    theorem lemma def abbrev structure inductive class open namespace section variable universe private protected
    noncomputable mutual example end
    """.split()  # noqa: SIM905 - quoted words are harder to read
)
"""Words that the code of an answer may begin with."""


def begins_with_command(code: str) -> bool:
    """Whether the first word begins a declaration, and not a sentence."""
    first = _WORD.match(code)
    return first is not None and first[0] in COMMANDS


def without_comments(code: str) -> str:
    """Replace each comment by a blank; an unclosed comment reaches to the end."""
    kept: list[str] = []
    position = 0
    while (found := _STRING_OR_COMMENT.search(code, position)) is not None:
        kept.append(code[position : found.start()])
        position = found.end()
        if found[0].startswith('"'):
            kept.append(found[0])
            continue
        kept.append(" ")
        if found[0] == "/-":
            position = _block_end(code, position)
    return "".join([*kept, code[position:]])


def without_imports(code: str, *, allowed: Collection[str]) -> str:
    """Remove the import lines that the reference has too; other imports stay, and are rejected."""
    return _IMPORT_LINE.sub(lambda line: "" if line[1] in allowed else line[0], code)


def refused_word(code: str, *, words: Collection[str]) -> str | None:
    """Return the first word, command or quoted identifier that is rejected; None if there is none."""
    found = next((word for word in _WORD.findall(code) if word in words), None)
    if found is None and (command := _COMMAND.search(code)) is not None:
        return command[0]
    if found is None and ("\u00ab" in code or "@[" in code):
        return "\u00ab" if "\u00ab" in code else "@["
    return found


def _block_end(code: str, start: int) -> int:
    """Return the index after the end of the block comment that begins before `start`; block comments nest."""
    depth = 1
    for mark in _BLOCK_MARK.finditer(code, start):
        depth += 1 if mark[0] == "/-" else -1
        if depth == 0:
            return mark.end()
    return len(code)
