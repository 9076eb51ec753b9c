"""`rlpost reward new`: writes a verifier with passing cases, as a starting point for one's own."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from rlpost.errors import RewardError
from rlpost.scoring.registry import known_verifiers

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")

FILE = Template(r'''"""$name: describe a right answer in a sentence."""

from __future__ import annotations

from rewards.extraction import OnMany, Where, final_answer, plain_characters
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

# At least three of each kind. `accept` must get the top score; `reject` is an honest mistake; `adversarial` is an
# attempt to be rewarded without an answer. Write down every attack that you find in your samples.
CASES = (
    Case(response=r"I think \boxed{Paris}", gold="Paris", expect="accept"),
    Case(response=r"\boxed{ paris }", gold="Paris", expect="accept", note="neither case nor spaces count"),
    Case(response="The answer is: 12", gold=12, params={"where": "final_line"}, expect="accept"),
    Case(response=r"\boxed{London}", gold="Paris", expect="reject"),
    Case(response="Paris", gold="Paris", expect="reject", note="not where the answer belongs"),
    Case(response=r"\boxed{Paris", gold="Paris", expect="reject", note="cut off"),
    Case(response=r"\boxed{Paris or London}", gold="Paris", expect="adversarial", note="hedged"),
    Case(response=r"\boxed{London} \boxed{Paris}", gold="Paris", expect="adversarial", note="two answers"),
    Case(response=r"\boxed{Par\text{}is Paris}", gold="Paris", expect="adversarial", note="stuffed"),
)


@verifier(name="$name", version="1", isolation="inline", cases=CASES)
def $function(sample: Sample, *, where: Where = "last_boxed", on_many: OnMany = "reject") -> Verdict:
    """1 when the final answer equals the gold, ignoring case and spaces, otherwise 0.

    Args:
        sample: Its gold is a text or a number.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
    """
    if isinstance(sample.gold, bool) or not isinstance(sample.gold, str | int | float) or not _folded(str(sample.gold)):
        # The row is at fault and not the model, so it is set aside and no model loses a reward.
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not text or a number")
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    equal = _folded(found.text) == _folded(str(sample.gold))
    return Verdict(score=float(equal), parsed=found.text, reason="equal" if equal else "another answer")


def _folded(text: str) -> str:
    return " ".join(plain_characters(text).casefold().split())
''')

NEXT = Template("""wrote $path

Test it:            rlpost reward test $shown
Use it in a recipe, with the path relative to the recipe's folder:

rewards:
  routes:
    "*": {verifier: $file:$function}
""")


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="For example finance.ratio.", show_default=False)],
    dir_: Annotated[Path, typer.Option("--dir", help="The folder to write into.")] = Path(),
) -> None:
    """Write NAME.py (dots become underscores): a verifier with passing cases, to start from."""
    function = name.rpartition(".")[2]
    if not _NAME.fullmatch(name) or keyword.iskeyword(function):
        raise RewardError(
            f"a verifier's name must be words of lower case letters, digits and _, joined by dots, the last one no "
            f"keyword of Python, for example finance.ratio; found {name!r}"
        )
    taken = known_verifiers().get(name)
    if taken is not None:
        raise RewardError(f"the name {name} is that of an installed verifier ({taken}): choose another")
    file = f"{name.replace('.', '_')}.py"
    path = dir_ / file
    try:
        dir_.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as created:
            created.write(FILE.substitute(name=name, function=function))
    except FileExistsError as error:
        raise RewardError(f"{path} exists already and is not overwritten: choose another name, or move it") from error
    except OSError as error:
        raise RewardError(f"{path} cannot be written: {error}") from error
    typer.echo(NEXT.substitute(path=path, shown=path, file=file, function=function), nl=False)
