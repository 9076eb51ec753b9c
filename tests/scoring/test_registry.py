from __future__ import annotations

import subprocess
import sys

import pytest

from rewards.math import equivalent
from rlpost.errors import RewardError
from rlpost.scoring.registry import known_verifiers, resolve


def test_short_names_and_module_names_reach_the_same_verifier() -> None:
    assert resolve("math.equivalent") is equivalent
    assert resolve("rewards.math:equivalent") is equivalent


def test_shipped_verifiers_are_known_by_their_short_names() -> None:
    assert {"math.equivalent", "text.exact", "text.contains", "reasoning_gym"} <= set(known_verifiers())


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("math.equivalnt", r"did you mean `math\.equivalent`\?.*module:name"),
        ("rewards.math:equivalant", "has no `equivalant`: did you mean `equivalent`"),
        ("rewards.nothing:here", r"the module rewards\.nothing must be importable.*PYTHONPATH"),
        ("rewards.math:CASES", "must be a verifier; found tuple: decorate it with @verifier"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_what_to_set(reference: str, message: str) -> None:
    with pytest.raises(RewardError, match=message):
        resolve(reference)


def test_naming_every_shipped_verifier_loads_none_of_the_libraries_they_use() -> None:
    program = (
        "import sys\n"
        "from rlpost.scoring.registry import known_verifiers, resolve\n"
        "for name in known_verifiers(): resolve(name)\n"
        "print([name for name in ('torch', 'sympy', 'math_verify', 'reasoning_gym', 'ray') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
