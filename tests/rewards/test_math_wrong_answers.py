"""Wrong answers that look like the gold, by family.

A family is a kind of answer; each line is an answer in a box, and the gold.
"""

from __future__ import annotations

import pytest

from rewards.math import equivalent
from rlpost.records import Sample

FAMILIES = {
    "a relation is no value": r"""
        x = 6 <=> 5
        2x = 10 <=> 10
        2x=10 <=> 5
        x^2 = 25 <=> 25
        5 = 7 <=> 7
        x = 5 = 7 <=> 7
        3+4 <=> 7
        3+5=7 <=> 7
        \frac{12}{4} <=> 3
        x > 5 <=> 5
        x \neq 5 <=> 5
        x \approx 5 = 6 <=> 5
        y = 7 <=> x = 7
        -5 <=> 5
        5 <=> -5
    """,
    "other intervals": r"""
        x<3 <=> (-\infty,3]
        x\le3 <=> (-\infty,3)
        x>3 <=> (-\infty,3)
        (2,3) <=> (2,3]
        [2,3] <=> (2,3]
        2<x<3 <=> (2,3]
        x<1 \text{ or } x>4 <=> (1,4)
        (1,4) <=> (-\infty,1)\cup(4,\infty)
        x\geq5 <=> (5,\infty)
    """,
    "other lists": r"""
        1,2 <=> 1,2,3
        1,2,3 <=> 1,2
        1 <=> 1,2
        1,3 <=> 1,2
        \pm 3 <=> 3
        3 <=> \pm 3
    """,
    "order and brackets": r"""
        (2,1) <=> (1,2)
        \{1,2\} <=> (1,2)
        (1,2) <=> \{1,2\}
        2,1 <=> x=1,y=2
        (2,1) <=> x=1,y=2
        x=2,y=1 <=> x=1,y=2
        x=2,y=1 <=> (1,2)
        (x,y)=(2,1) <=> (1,2)
        3,1,2 <=> a=1,b=2,c=3
        \begin{cases} x=2 \\ y=1 \end{cases} <=> x=1,y=2
    """,
    "rounded values": r"""
        (1.7320508,2) <=> (\sqrt3,2)
        \{0.333333\} <=> \{\frac13\}
        0.333333,1 <=> \frac13,1
        [0.333333,1] <=> [\frac13,1]
        \begin{pmatrix}0.666667\\1\end{pmatrix} <=> \begin{pmatrix}\frac23\\1\end{pmatrix}
        1.414214 <=> \sqrt2
        0.333333x <=> \frac{x}{3}
    """,
    "other matrices": r"""
        \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} <=> \begin{pmatrix} 1 & 2 \\ 4 & 3 \end{pmatrix}
        \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} <=> \begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}
        \begin{pmatrix} 1 \\ 2 \end{pmatrix} <=> \begin{pmatrix} 1 & 2 \end{pmatrix}
        \begin{pmatrix} 2 \\ 1 \end{pmatrix} <=> \begin{pmatrix} 1 \\ 2 \end{pmatrix}
        \begin{pmatrix} -1 \\ 2 \end{pmatrix} <=> \begin{pmatrix} 1 \\ 2 \end{pmatrix}
        \begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix} <=> \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}
        \begin{bmatrix}1&2\\3&5\end{bmatrix} <=> \begin{bmatrix}1&2\\3&4\end{bmatrix}
        \begin{pmatrix} 1 & 2 & 3 & 4 \end{pmatrix} <=> \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}
        \begin{pmatrix}y\\x\end{pmatrix} <=> \begin{pmatrix}x\\y\end{pmatrix}
        \begin{pmatrix} 12 \\ 3 \end{pmatrix} <=> \begin{pmatrix} 1 \\ 23 \end{pmatrix}
    """,
    "other bases": r"""
        101_3 <=> 101_2
        101_{10} <=> 101_2
        5_{10} <=> 101_2
        5 <=> 101_2
        64_7 <=> 64_8
    """,
    "other units": r"""
        10\text{ kg} <=> 10\text{ cm}
        10 \text{ minutes} <=> 10 \text{ hours}
        10\text{ cm} <=> 10\text{ cm}^2
        10\% <=> 0.1
        45^\circ <=> 45\text{ rad}
    """,
    "other words": r"""
        \text{west} <=> \text{east}
        \text{B} <=> \text{(A)}
        B <=> \text{(C)}
        \text{(B)} <=> \text{(C)}
        \text{even and odd} <=> \text{even}
        \text{not even} <=> \text{even}
        \text{even or odd} <=> \text{even}
        \text{no} <=> \text{yes}
    """,
    "several answers": r"""
        5 \text{ or } 7 <=> 7
        7, 8 <=> 7
        7 \text{ and } 8 <=> 7
        7 \text{ or } 7.5 <=> 7
        \frac34 = 0.76 <=> \frac34
        \sqrt2 \approx 1.9 <=> \sqrt2
    """,
    "decimals that end": r"""
        0.333 <=> 0.333...
        0.33 <=> \frac13
        0.3 <=> 0.\overline{3}
        0.\overline{3} <=> 0.3
    """,
    "scale and sign words": r"""
        5\text{ million} <=> 5
        5\text{ dozen} <=> 5
        \text{minus }5 <=> 5
        \text{half of }10 <=> 10
        \text{not }5 <=> 5
        5\text{ squared} <=> 5
        -(5) <=> 5
        5! <=> 5
        5^2 <=> 5
        5x <=> 5
        x5 <=> 5
    """,
    "near misses of every kind": r"""
        2^{2022} <=> 2^{2023}
        2^{2023}+1 <=> 2^{2023}
        \frac{1}{900!} <=> \frac{1}{902!}
        \emptyset <=> 0
        0 <=> \emptyset
        \infty <=> -\infty
        -\infty <=> \infty
        \mathbb{Z} <=> \mathbb{R}
        \mathbb{R} <=> (0,\infty)
        x+1 <=> x-1
        y=2x-1 <=> y=2x+1
        y=2x+1 <=> y=2x
        x^2+y^2=5 <=> x^2+y^2=4
        (1,2),(4,3) <=> (1,2),(3,4)
        (1,2) <=> (1,2),(3,4)
        1+2i <=> 1-2i
        e^{i\pi/3} <=> e^{-i\pi/3}
        \frac12-\frac{\sqrt3}{2}i <=> e^{i\pi/3}
        3:4 <=> 4:3
        1/2 <=> 2
        \sqrt{4} <=> 2
        \log 100 <=> 2
        1 1/2 <=> 11/2
        1,234 <=> 1234.5
        [1,2] <=> (1,2)
        x \in [1,2] <=> [1,2)
        \sin\theta <=> \cos\theta
        x=1,2,3 <=> 1,2
        x=5\text{ or }x=6 <=> 5
        2\sqrt{3} <=> 3\sqrt{2}
        \text{7 or 8} <=> 7
        50 <=> 50.1
        7\text{ if }x>3 <=> 7
        \frac{7}{1} <=> 7
        7+0 <=> 7
        7\cdot1 <=> 7
        (7,7) <=> 7
        y>3 <=> x>3
        \{1,2,3\} <=> \{1,2\}
        \{1\} <=> \{1,2\}
        -\begin{pmatrix}1\\2\end{pmatrix} <=> \begin{pmatrix}1\\2\end{pmatrix}
        n=3 <=> n=4
    """,
}

ROWS = [
    pytest.param(*map(str.strip, line.split(" <=> ")), id=f"{family}: {line.strip()}")
    for family, lines in FAMILIES.items()
    for line in lines.strip().splitlines()
]


@pytest.mark.parametrize(("answer", "gold"), ROWS)
def test_a_wrong_answer_is_never_paid(answer: str, gold: str) -> None:
    sample = Sample(id="s", prompt="", response=rf"so \boxed{{{answer}}}", gold=gold)
    verdict = equivalent.judge(sample, params=equivalent.validated({}))
    assert (verdict.score, verdict.fault) == (0.0, None), verdict
