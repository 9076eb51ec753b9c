"""More answers that are right or wrong, one a line, with the gold; the files beside this one have the families."""

from __future__ import annotations

import pytest

from rewards.math import equivalent
from rlpost.records import Sample

RIGHT = r"""
\pi r^2 h <=> \pi h r^2
2\sqrt{3} cm <=> 2\sqrt3
36\pi cm^3 <=> 36\pi
36 \pi cm^3 <=> 36\pi\text{ cubic centimeters}
\frac12 g t^2 <=> \frac{g t^2}{2}
m g h <=> mgh
x=11. <=> 11
x = 11 \text{ cm} <=> 11
x=11,000 <=> 11000
\therefore x = 11 <=> 11
x \,=\, 11 <=> 11
x:=11 <=> 11
\text{The value of } x \text{ is } 11 <=> 11
\text{x = 11} <=> 11
x = 11 \text{ or } 11.0 <=> 11
m = -\frac{1}{2} <=> -0.5
\alpha = \frac{\pi}{3} <=> \frac{\pi}{3}
V = 36\pi <=> 36\pi
V=36\pi\text{ cm}^3 <=> 36\pi
36\pi \text{ cubic cm} <=> 36\pi
\frac{36\pi}{1} <=> 36\pi
n=2^{10} <=> 2^{10}
k \in \{1, 2\} <=> \{1,2\}
x\in\{1,2\} <=> 1,2
\{x: x>3\} <=> x>3
x > 3 \text{ and } x \le 5 <=> (3,5]
3<x\leq5 <=> 3 < x \leq 5
-\infty < x < 3 <=> (-\infty,3)
(-\infty, \infty) <=> \mathbb{R}
x \in \mathbb{R} <=> \mathbb{R}
x\in(-\infty,\infty) <=> \mathbb{R}
\left[ \frac12, \infty \right) <=> [0.5,\infty)
(1,2]\cup[3,4) <=> [3,4)\cup(1,2]
x = 1, 2 \text{ or } 3 <=> 1,2,3
1, 2 \text{ or } 3 <=> 1,2,3
x=1; x=2 <=> 1,2
a=1,\ b=2 <=> a = 1, b = 2
a=1 \text{ and } b=2 <=> a=1, b=2
(a,b)=(1,2) <=> a=1,b=2
(1, 2), (2, 1) <=> (2,1),(1,2)
\left\{ (1,2), (2,1) \right\} <=> (1,2),(2,1)
\left(\frac{1}{2},-3\right) <=> (0.5,-3)
30 \text{ degrees} <=> 30
30^{\circ} <=> 30^\circ
\angle A = 30^\circ <=> 30^\circ
30\degree <=> 30^\circ
\$12.50 <=> 12.50
12.50 \text{ dollars} <=> \$12.50
\text{Rs. } 50 <=> 50
50\text{ cents} <=> 50
25\,\% <=> 25\%
25 \% <=> 25
\dfrac{5}{3}\text{ hours} <=> \frac{5}{3}
1\frac{2}{3} <=> \frac53
1 \tfrac{2}{3} <=> \frac53
\frac{-5}{-3} <=> \frac53
-\frac{-5}{3} <=> \frac{5}{3}
-1/2 <=> -\frac12
2\sqrt{3}\text{ units} <=> 2\sqrt3
\sqrt{12} <=> 2\sqrt3
\frac{6}{\sqrt3} <=> 2\sqrt{3}
√(3)/2 <=> \frac{\sqrt3}{2}
3√(2) <=> 3\sqrt2
x≥5 <=> [5,\infty)
x ≤ 5 <=> (-\infty,5]
π <=> \pi
2π/3 <=> \frac{2\pi}{3}
∅ <=> \emptyset
\{\} <=> \emptyset
\text{None} <=> \text{none}
\text{DNE} <=> \text{does not exist}
\text{undefined} <=> \text{undefined}
\text{Undefined} <=> undefined
\text{infinitely many} <=> \text{infinitely many}
\text{infinitely many solutions} <=> \text{infinitely many solutions}
\begin{pmatrix}1&2\\3&4\end{pmatrix} <=> \begin{bmatrix}1&2\\3&4\end{bmatrix}
\left[\begin{matrix}1&2\\3&4\end{matrix}\right] <=> \begin{bmatrix}1&2\\3&4\end{bmatrix}
\begin{pmatrix}1 & 2\\ 3 & 4\\ \end{pmatrix} <=> \begin{pmatrix}1&2\\3&4\end{pmatrix}
\begin{pmatrix}1\\2\\3\end{pmatrix} <=> \begin{bmatrix} 1 \\ 2 \\ 3 \end{bmatrix}
\begin{pmatrix}\frac{1}{2} & 0 \\ 0 & 1\end{pmatrix} <=> \begin{pmatrix}0.5&0\\0&1\end{pmatrix}
A = \begin{pmatrix}1&2\\3&4\end{pmatrix} <=> \begin{pmatrix}1&2\\3&4\end{pmatrix}
\begin{pmatrix} x+1 \\ 2 \end{pmatrix} <=> \begin{pmatrix} 1+x \\ 2 \end{pmatrix}
(1,2,3) <=> \begin{pmatrix}1\\2\\3\end{pmatrix}
\langle 1,2,3\rangle <=> \begin{pmatrix}1\\2\\3\end{pmatrix}
1101_{2} <=> 1101_2
1101\text{ (base 2)} <=> 1101_2
1101 \text{ base } 2 <=> 1101_2
\text{1101}_2 <=> 1101_2
2A_{\text{sixteen}} <=> 2A_{16}
2a_{16} <=> 2A_{16}
\cos(\pi/3) + i \sin(\pi/3) <=> e^{i\pi/3}
5e^{i\pi/2} <=> 5i
-i <=> e^{-i\pi/2}
\text{(D)} <=> D
D <=> \text{D}
\mathbf{(D)} <=> \text{(D)}
(\text{D}) <=> \text{(D)}
\text{D) } 5 <=> \text{(D)}
\text{The answer is (D)} <=> \text{(D)}
\textbf{(D) }5 <=> \text{(D)}
\text{Tuesday.} <=> Tuesday
\text{east} <=> \text{East}
\mathrm{east} <=> \text{east}
\text{ellipse} <=> ellipse
\text{an ellipse} <=> \text{ellipse}
0.16\overline{6} <=> \frac{1}{6}
0.\overline{09} <=> \frac{1}{11}
.\overline{3} <=> 1/3
0.\overline{3} <=> 0.333\ldots
1.2\overline{34} <=> \frac{611}{495}
x=\frac12=0.5 <=> 0.5
= 7 <=> 7
\approx 7 <=> 7
7\,\mathrm{m/s} <=> 7
7 \frac{\text{m}}{\text{s}} <=> 7
7\text{ m}^2 <=> 7
7 \text{ sq. units} <=> 7
7\text{ units}^2 <=> 7
7\text{ inches} <=> 7\text{ in}
10:30 <=> 10:30
10{:}30 <=> 10:30
3.0\times10^{8} <=> 3 \times 10^8
3\cdot 10^8 <=> 300000000
3e8 <=> 3\times10^8
1\times10^{5} <=> 100{,}000
\frac{x}{2} <=> 0.5x
\frac{1}{x+1} <=> (x+1)^{-1}
(x-1)(x+1) <=> x^2-1
x^{2}-1 <=> (x+1)(x-1)
\sin^2 x <=> (\sin x)^2
\ln(4) <=> 2\ln 2
e^{2x} <=> (e^x)^2
|x| <=> \sqrt{x^2}
n(n+1)/2 <=> \frac{n(n+1)}{2}
\frac{n(n+1)}{2} <=> \frac{n^2+n}{2}
a_n = 2^n <=> 2^n
x^2 + C <=> x^2+C
\frac{x^3}{3} + C <=> \frac{1}{3}x^3+C
y = \frac12 x + 3 <=> y=\frac{x}{2}+3
y - 3 = \frac12 x <=> y=\frac{x}{2}+3
2y = x+6 <=> y=\frac{x}{2}+3
x - 2y + 6 = 0 <=> y=\frac{x}{2}+3
(x-1)^2+(y-2)^2=9 <=> (x-1)^2+(y-2)^2=9
(y-2)^2+(x-1)^2=3^2 <=> (x-1)^2+(y-2)^2=9
2^{1000}-1 <=> 2^{1000} - 1
2^{2^{10}} <=> 2^{1024}
3^{100}\cdot 3^{100} <=> 3^{200}
\frac{100!}{98!} <=> 9900\cdot 1
7^{2024} \cdot 7 <=> 7^{2025}
10^{2023}+1 <=> 1+10^{2023}
\binom{10}{3} <=> \binom{10}{3}
\frac{1}{3}\pi r^2 h <=> \frac{\pi r^2 h}{3}
10^{-3} <=> 0.001
"""
WRONG = r"""
\pi r^2 h <=> \pi r^2
\pi r^2 <=> \pi r^2 h
x^2 s <=> x^2
m g h <=> m
2\sqrt3\text{ cm} <=> 2\sqrt3\text{ m}
2\sqrt3 cm <=> 2\sqrt3 km
2x=11 <=> 11
x^2=11 <=> 11
x+1=11 <=> 11
x=-11 <=> 11
x=11=12 <=> 11
x\ne 11 <=> 11
x>11 <=> 11
\log_{10} 100 = 3 <=> 2
x \in [1,2) <=> (1,2]
x<-1 \text{ and } x>2 <=> (-\infty,-1)\cup(2,\infty)
-1<x<2 <=> (-\infty,-1)\cup(2,\infty)
x>-1 \text{ or } x<2 <=> (-\infty,-1)\cup(2,\infty)
(-\infty,-1]\cup[2,\infty) <=> (-\infty,-1)\cup(2,\infty)
x \le 5 <=> x<5
1,2 <=> (2,1)
(1,2),(2,3) <=> (2,1),(3,2)
y=1,x=2 <=> x=1,y=2
b=1,a=2 <=> a=1,b=2
\{1,2\} <=> [1,2]
1,1 <=> 1,2
\begin{pmatrix}1\\2\\3\end{pmatrix} <=> \begin{pmatrix}1\\3\\2\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} <=> \begin{pmatrix}1&2\\3&-4\end{pmatrix}
\begin{pmatrix}1&2\end{pmatrix} <=> \begin{pmatrix}1\\2\end{pmatrix}
\begin{pmatrix}1&3\\2&4\end{pmatrix} <=> \begin{pmatrix}1&2\\3&4\end{pmatrix}
(1,3,2) <=> \begin{pmatrix}1\\2\\3\end{pmatrix}
2\begin{pmatrix}1\\2\end{pmatrix} <=> \begin{pmatrix}1\\2\end{pmatrix}
\begin{pmatrix}1.0001\\2\end{pmatrix} <=> \begin{pmatrix}1\\2\end{pmatrix}
\begin{pmatrix}0.3333333\\2\end{pmatrix} <=> \begin{pmatrix}\frac13\\2\end{pmatrix}
(0.6666667, 1) <=> (\frac23, 1)
1101 \text{ base } 3 <=> 1101_2
1101_{\text{three}} <=> 1101_2
1011_2 <=> 1101_2
13_{10} <=> 1101_2
13 <=> 1101_2
D_{16} <=> 1101_2
e^{i\pi/6} <=> e^{i\pi/3}
\text{(E)} <=> \text{(D)}
\text{(D) or (E)} <=> \text{(D)}
\text{Monday or Tuesday} <=> Tuesday
\text{north} <=> \text{south}
\text{no solution} <=> 0
\text{none} <=> \text{all}
10\text{ min} <=> 10\text{ h}
10 \text{ m} <=> 10\text{ cm}
10\text{ m}^2 <=> 10\text{ m}
30^\circ <=> 30\text{ cm}
\$10 <=> 10\text{ euros}
10\% <=> 10^\circ
0.5\% <=> 0.5\text{ cm}
0.3333 <=> \frac13
0.33333333 <=> \frac13
3.14159265 <=> \pi
3.14 <=> \pi
\frac{22}{7} <=> \pi
1.4142135 <=> \sqrt2
2.718281828 <=> e
\frac12 = 0.6 <=> \frac12
\sqrt2 = 1.41 <=> \sqrt2
7 \text{ or } 8 <=> 7
7,7.5 <=> 7
7 \text{ and } 7.1 <=> 7
7 \pm 1 <=> 7
\pm 7 <=> 7
7\text{ thousand} <=> 7
7 \times 10^3 <=> 7
7\% \text{ of } 100 <=> 7
\text{twice } 7 <=> 7
\text{negative } 7 <=> 7
7^{\circ}\text{F} <=> 7^\circ\text{C}
2^{1001} <=> 2^{1000}
2^{1000} <=> 2^{1000}-1
10^{2023} <=> 1+10^{2023}
x^2-1 <=> x^2+1
\frac{x}{3} <=> 0.3333x
\sin(2x) <=> 2\sin x
n <=> m
ab <=> a+b
y=\frac12x-3 <=> y=\frac{x}{2}+3
x-2y-6=0 <=> y=\frac{x}{2}+3
(x-1)^2+(y-2)^2=3 <=> (x-1)^2+(y-2)^2=9
10:45 <=> 10:30
\text{7 if } x > 0 <=> 7
\text{at least } 7 <=> 7
> 7 <=> 7
7+ <=> 7
7? <=> 7
\text{maybe } 7 \text{ or } 9 <=> 7
\text{not } 7 <=> 7
\text{about half of } 14 <=> 7
7 \text{ out of } 8 <=> 7
\frac{7}{8} <=> 7
77 <=> 7
7.7 <=> 7
07.1 <=> 7
10^{-3} <=> 0.01
10^3 <=> 1000
\log_{10} 100 <=> 2
"""


@pytest.mark.parametrize(
    ("line", "score"),
    [(line, 1.0) for line in RIGHT.strip().splitlines()] + [(line, 0.0) for line in WRONG.strip().splitlines()],
)
def test_an_answer_gets_the_score_that_a_person_gives(line: str, score: float) -> None:
    answer, gold = line.split(" <=> ")
    sample = Sample(id="s", prompt="", response=rf"so \boxed{{{answer}}}", gold=gold)
    verdict = equivalent.judge(sample, params=equivalent.validated({}))
    assert (verdict.score, verdict.fault) == (score, None), verdict
