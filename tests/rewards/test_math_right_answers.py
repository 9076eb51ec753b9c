# ruff: noqa: RUF001 - dashes of every kind are among the answers
"""Right answers that are written in another way than the gold, by family.

A family is a kind of answer; each line is an answer in a box, and the gold.
"""

from __future__ import annotations

import pytest

from rewards.math import equivalent
from rlpost.records import Sample

FAMILIES = {
    "a name before the value": r"""
        x = 5 <=> 5
        n=5 <=> 5
        N = 5 <=> 5
        x_1 = 5 <=> 5
        \theta = 30^\circ <=> 30
        f(2) = 5 <=> 5
        f(x) = x^2 <=> x^2
        y = x^2 <=> x^2
        P(A) = \frac13 <=> \frac{1}{3}
        AB = 10 <=> 10
        \angle ABC = 60^\circ <=> 60
        \text{Area} = 12 <=> 12
        \text{Total cost} = \$5 <=> 5
        S_{10} = 55 <=> 55
        a_n = 2n+1 <=> 2n+1
        |AB| = 4 <=> 4
        \mathbf{v} = \begin{pmatrix}1\\2\end{pmatrix} <=> \begin{pmatrix} 1 \\ 2 \end{pmatrix}
        (a, b) = (3, 4) <=> (3,4)
        (x,y,z)=(1,2,3) <=> (1, 2, 3)
    """,
    "intervals and inequalities": r"""
        x \in (2, 3] <=> (2,3]
        2 < x \le 3 <=> (2,3]
        3 \geq x > 2 <=> (2,3]
        3 > x <=> (-\infty, 3)
        x \leq -2 <=> (-\infty,-2]
        x \leqslant -2 <=> (-\infty,-2]
        (2,3] <=> 2<x\le3
        [5,\infty) <=> x \ge 5
        x < 1 \text{ or } x > 4 <=> (-\infty,1)\cup(4,\infty)
        x > 4 \text{ or } x < 1 <=> (-\infty,1)\cup(4,\infty)
        (4,\infty)\cup(-\infty,1) <=> (-\infty,1)\cup(4,\infty)
        x \in (-\infty, 1) \cup (4, \infty) <=> (-\infty,1)\cup(4,\infty)
        x \neq 2 <=> (-\infty,2)\cup(2,\infty)
        x > 1 \text{ and } x < 4 <=> (1,4)
        \{x \mid x > 3\} <=> (3,\infty)
        \{ x : -1 \le x \le 1 \} <=> [-1,1]
        \mathbb{R} <=> (-\infty,\infty)
        \text{all real numbers} <=> (-\infty,\infty)
        \mathbb{R} \setminus \{2\} <=> (-\infty,2)\cup(2,\infty)
    """,
    "lists and sets": r"""
        1, 2, 3 <=> 3,2,1
        1 \text{ and } 2 <=> 1,2
        1, 2, \text{ and } 3 <=> 1,2,3
        x = 1 \text{ and } x = 2 <=> 1,2
        x_1 = 1, x_2 = 2 <=> 1,2
        x = 2 \text{ or } x = 1 <=> 1,2
        \{1,2\} <=> 1,2
        2 \text{ or } 1 <=> \{1,2\}
    """,
    "plus or minus": r"""
        \pm 3 <=> 3,-3
        x = \pm 3 <=> -3,3
        3, -3 <=> \pm 3
        2 \pm \sqrt{3} <=> 2+\sqrt3, 2-\sqrt3
        2+\sqrt3 \text{ or } 2-\sqrt3 <=> 2\pm\sqrt{3}
    """,
    "values with names": r"""
        x=1, y=2 <=> x=1,y=2
        y=2, x=1 <=> x=1,y=2
        x=1, y=2 <=> (1,2)
        1, 2 <=> x=1,y=2
        (1,2) <=> x=1,y=2
        (x,y)=(1,2) <=> x=1, y=2
        \begin{cases} x=1 \\ y=2 \end{cases} <=> x=1,y=2
        \begin{cases} y=2 \\ x=1 \end{cases} <=> \begin{cases} x=1 \\ y=2 \end{cases}
        x=1,\ y=2 <=> (x,y)=(1,2)
    """,
    "units and text around a number": r"""
        45 \text{ degrees} <=> 45^\circ
        45^{\circ} <=> 45
        45° <=> 45^\circ
        45 <=> 45^\circ
        45\text{ deg} <=> 45^\circ
        25\% <=> 25
        25 \text{ percent} <=> 25\%
        \text{12 cm} <=> 12
        12\,\text{cm} <=> 12
        12\mathrm{~cm} <=> 12
        12 \text{ square units} <=> 12
        12 \text{ cm}^2 <=> 12\text{ square centimeters}
        \text{\$12} <=> 12
        12 \text{ dollars} <=> \$12
        3 \text{ hours} <=> 3\text{ hr}
        3 \text{ hours} <=> 3
        \frac{3}{4}\text{ cup} <=> \frac34
        60 \text{ km/h} <=> 60
        60 \text{ kilometers per hour} <=> 60\text{ km/h}
        \text{60 mph} <=> 60
    """,
    "fractions and signs": r"""
        2 1/2 <=> \frac52
        2\frac12 <=> 2.5
        2 \frac{1}{2} <=> \frac{5}{2}
        -\frac{3}{4} <=> \frac{-3}{4}
        \frac{3}{-4} <=> -\frac{3}{4}
        \frac{-3}{-4} <=> \frac34
    """,
    "characters": r"""
        √5 <=> \sqrt5
        3√2 <=> 3\sqrt{2}
        √(12) <=> 2\sqrt3
        sqrt(5) <=> \sqrt{5}
        2*sqrt(5) <=> 2\sqrt{5}
        π/2 <=> \frac{\pi}{2}
        2π <=> 2\pi
        x² + 1 <=> x^2+1
        ½ <=> 0.5
        −5 <=> -5
        –5 <=> -5
        -∞ <=> -\infty
        (−∞, 2) <=> (-\infty,2)
    """,
    "matrices and vectors": r"""
        \begin{bmatrix} 1 & 0 \\ 0 & 1 \end{bmatrix} <=> \begin{pmatrix}1&0\\0&1\end{pmatrix}
        \begin{pmatrix} 1 & 0 \\[2pt] 0 & 1 \end{pmatrix} <=> \begin{pmatrix}1&0\\0&1\end{pmatrix}
        \begin{pmatrix} \frac12 \\ \sqrt{2} \end{pmatrix} <=> \begin{pmatrix} 0.5 \\ \sqrt 2\end{pmatrix}
        \left(\begin{array}{cc} 1 & 2 \\ 3 & 4 \end{array}\right) <=> \begin{pmatrix}1&2\\3&4\end{pmatrix}
        \frac{1}{2}\begin{pmatrix} 1 \\ 3 \end{pmatrix} <=> \begin{pmatrix} 1/2 \\ 3/2 \end{pmatrix}
        -\begin{pmatrix} 1 \\ 3 \end{pmatrix} <=> \begin{pmatrix} -1 \\ -3 \end{pmatrix}
        \begin{pmatrix} a \\ b \end{pmatrix} <=> \begin{pmatrix} a \\ b \end{pmatrix}
        \begin{pmatrix} 1\; & 2 \\ \; 3 & 4 \end{pmatrix} <=> \begin{pmatrix}1&2\\3&4\end{pmatrix}
        \langle 1, 2 \rangle <=> (1,2)
        \begin{pmatrix} 1 & 2 \end{pmatrix}^T <=> \begin{pmatrix} 1 \\ 2 \end{pmatrix}
    """,
    "bases": r"""
        101_2 <=> 101_{2}
        101_{\text{two}} <=> 101_2
        (101)_2 <=> 101_2
        101_{(2)} <=> 101_2
        101 <=> 101_2
        101_{\text{base }2} <=> 101_2
        1A_{16} <=> 1A_{16}
        77_{eight} <=> 77_8
    """,
    "complex numbers": r"""
        e^{i\pi/2} <=> i
        \cos\frac{\pi}{3}+i\sin\frac{\pi}{3} <=> \frac12+\frac{\sqrt3}{2}i
        3+4i <=> 4i+3
        3 + 4 i <=> 3+4i
        3+4\mathrm{i} <=> 3+4i
        \mathrm{e}^2 <=> e^2
    """,
    "words and letters": r"""
        A <=> \text{(A)}
        \text{A} <=> \text{(A)}
        (A) <=> \text{(A)}
        \textbf{(A)} <=> \text{(A)}
        \text{(A) } 12 <=> \text{(A)}
        \text{even} <=> \text{even}
        \text{Even} <=> \text{even}
        even <=> \text{even}
        \text{odd} <=> odd
        \text{Monday} <=> Monday
        \text{no solution} <=> \text{no solutions}
        \text{No real solutions} <=> \text{no solution}
        \text{Alice and Bob} <=> \text{Alice and Bob}
        \emptyset <=> \varnothing
        \text{yes} <=> \text{Yes}
        \text{the circle} <=> \text{circle}
    """,
    "repeating decimals": r"""
        0.1\overline{6} <=> \frac16
        0.\overline{142857} <=> \frac17
        0.\bar{6} <=> \frac23
        \frac{2}{3} <=> 0.666...
        \frac{2}{3} <=> 0.\dot{6}
    """,
    "the same value twice": r"""
        \frac{1}{2} = 0.5 <=> 0.5
        \frac{6}{4} = \frac32 <=> 1.5
        x = \frac{6}{4} = \frac{3}{2} <=> \frac32
        \sqrt{2} \approx 1.414 <=> \sqrt{2}
        x = \sqrt{2} \approx 1.414 <=> \sqrt{2}
        2^{10} = 1024 <=> 1024
        3+4=7 <=> 7
        0.5 \text{ or } \frac12 <=> \frac12
    """,
    "typesetting": r"""
        \mathbf{5} <=> 5
        \textit{5} <=> 5
        {5} <=> 5
        5\; <=> 5
        \,5 <=> 5
        $5$ <=> 5
        \(5\) <=> 5
        \displaystyle \frac12 <=> \frac12
        \dfrac{1}{2} <=> \tfrac12
        \frac12 <=> \frac{1}{2}
        \sqrt2 <=> \sqrt{2}
    """,
    "equal expressions": r"""
        x^2+2x+1 <=> (x+1)^2
        \ln 2 <=> \log_e 2
        \frac{\sqrt{2}}{2} <=> \frac{1}{\sqrt2}
    """,
    "large powers": r"""
        2^{2023} <=> 2\cdot 2^{2022}
        4^{500} <=> 2^{1000}
        \frac{3^{2016}-1}{2} <=> \frac{1}{2}(3^{2016}-1)
        1-\frac{1}{2^{2023}} <=> 1-2^{-2023}
        10^{100} <=> 10^{100}
        2^{9999} <=> 2 \cdot 2^{9998}
    """,
    "written numbers": r"""
        1,000 <=> 1000
        1{,}000,000 <=> 1000000
        1\,000 <=> 1000
        5 \times 10^3 <=> 5000
        5\cdot10^{-3} <=> 0.005
        5 \text{ million} <=> 5000000
        \text{5 million} <=> 5{,}000{,}000
    """,
    "equations, pairs and everything else": r"""
        3:4 <=> 3:4
        6:00 <=> 6:00
        x=2 \text{ and } y=3 <=> (2,3)
        y = 2x+1 <=> y=2x+1
        f(x) = 2x+1 <=> y = 2x+1
        x^2+y^2=4 <=> x^2 + y^2 = 4
        4 = x^2+y^2 <=> x^2 + y^2 = 4
        (1,2),(3,4) <=> (1,2), (3,4)
        (3,4),(1,2) <=> (1,2), (3,4)
        (1,2) \text{ and } (3,4) <=> (1,2), (3,4)
        \{(1,2),(3,4)\} <=> (1,2),(3,4)
        (\frac12, \sqrt{3}) <=> (0.5,\sqrt3)
        \{\sqrt2\} <=> \{\sqrt{2}\}
        x=\frac{-1\pm\sqrt5}{2} <=> \frac{-1\pm\sqrt{5}}{2}
        k = 3 <=> k=3
        \$1,250.50 <=> 1250.5
        \text{Answer: } 12 <=> 12
        n \ge 5 <=> n\geq 5
        n > 4 <=> (4, \infty)
        \text{June 20} <=> June 20
        5\text{ cm} <=> 5 \text{ centimeters}
        2n\pi <=> 2\pi n
        \tan^{-1} 2 <=> \arctan 2
        \frac{\pi}{4} + k\pi <=> k\pi + \frac{\pi}{4}
        \frac{\pi}{4} + k\pi, k \in \mathbb{Z} <=> \frac{\pi}{4} + k\pi
        5\text{ feet} <=> 5
        x+1 \text{ meters} <=> x+1
        0 <=> 0.0
        -0 <=> 0
        7. <=> 7
        .5 <=> 0.5
        +5 <=> 5
        12.50 <=> 12.5
        \approx 3.14 <=> 3.14
        \text{(B)} <=> B
        \boxed{5} <=> 5
        \$\frac{1}{2} <=> \frac12
        5^\circ\text{C} <=> 5
        C=2 <=> 2
        \frac{dy}{dx}=2x <=> 2x
        f'(x)=2x <=> 2x
        y'=2x <=> 2x
        f^{-1}(x)=x-1 <=> x-1
        \sin\theta=\frac12 <=> \frac12
        \triangle ABC = 12 <=> 12
        m\angle A = 40^\circ <=> 40
        \overline{AB} = 5 <=> 5
        [ABC] = 12 <=> 12
        r=\frac{1}{2}\text{ cm} <=> \frac12
        n = 3 \text{ or } n=4 <=> \{3,4\}
        n \in \{3,4\} <=> \{3,4\}
        n\in\{3,4\} <=> 3,4
        x \in \{3\} <=> 3
        [-1, 1) <=> -1\leq x<1
        z = 1+2i <=> 1+2i
    """,
}

ROWS = [
    pytest.param(*map(str.strip, line.split(" <=> ")), id=f"{family}: {line.strip()}")
    for family, lines in FAMILIES.items()
    for line in lines.strip().splitlines()
]


@pytest.mark.parametrize(("answer", "gold"), ROWS)
def test_a_right_answer_is_paid_however_it_is_written(answer: str, gold: str) -> None:
    sample = Sample(id="s", prompt="", response=rf"so \boxed{{{answer}}}", gold=gold)
    verdict = equivalent.judge(sample, params=equivalent.validated({}))
    assert (verdict.score, verdict.fault) == (1.0, None), verdict
