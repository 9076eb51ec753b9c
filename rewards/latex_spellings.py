r"""The tables of `rewards.latex`: commands, characters and words that are different spellings of the same thing."""

from __future__ import annotations

OR, AND = "\ue000", "\ue001"
"""The words between two answers, each as a single character."""
DEGREE = "\u00b0"
DOTS = "..."


def _commands(names: str) -> frozenset[str]:
    return frozenset("\\" + name for name in names.split())


DROPPED = (
    _commands("left right middle displaystyle textstyle scriptstyle limits nolimits rm bf it ! /")
    | {rf"\{size}{side}" for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "r", "m")}
    | {"\u2061", "\u2062"}
)
SPACES = _commands(", ; : > therefore because quad qquad enspace thinspace nobreakspace") | {"\\ ", "\\\n", "~"}
TEXT = _commands("text textbf textit textrm texttt textsf mbox emph mathrm mathsf mathtt operatorname hbox")
"""Commands whose argument is text."""
BOLD = _commands("mathbf boldsymbol bm mathit mathnormal vec underline boxed fbox mathcal hat")
"""Commands that change only the appearance of their argument."""
SKIPPED = _commands("hspace vspace phantom hphantom color label tag textcolor")
"""Commands whose argument is not part of the answer."""
FUNCTIONS = frozenset(
    "sin cos tan sec csc cot sinh cosh tanh log ln exp arcsin arccos arctan gcd lcm".split()  # noqa: SIM905 - easier to read
)

_COMMAND_SPELLINGS = {
    r"\frac": r"\dfrac \tfrac \cfrac",
    r"\leq": r"\le \leqslant",
    r"\geq": r"\ge \geqslant",
    r"\neq": r"\ne",
    "<": r"\lt",
    ">": r"\gt",
    r"\{": r"\lbrace",
    r"\}": r"\rbrace",
    "[": r"\lbrack",
    "]": r"\rbrack",
    r"\emptyset": r"\varnothing",
    DOTS: r"\ldots \dots \cdots \dotsc",
    DEGREE: "\\degree \u00ba \u02da",
    r"\cdot": "\\times \\ast \u00d7 \u00b7 \u22c5 \u2217",
    ":": r"\colon",
    "|": "\\mid \\vert \\lvert \\rvert \u2223",
    r"\approx": "\\approxeq \\simeq \u2248",
    OR: "\\lor \\vee \u2228",
    AND: "\\land \\wedge \u2227",
    r"\mathbb{R}": "\\reals \\R \u211d",
    r"\overline": r"\bar \dot",
    r"\setminus": "\\smallsetminus \\backslash \u2216",
    r"\infty": "\\infin \u221e",
    "-": "\u2212 \u2013 \u2014 \u2010 \u2011 \u2012",
    "/": "\u00f7 \u2044 \\div",
    "'": "\u2032 \\prime",
    r"\%": "%",
    r"\langle": "\u27e8",
    r"\rangle": "\u27e9",
    "\u20ac": r"\euro",
}
_CHARACTERS = {
    r"\pi": "\u03c0",
    r"\leq": "\u2264",
    r"\geq": "\u2265",
    r"\neq": "\u2260",
    r"\pm": "\u00b1",
    r"\mp": "\u2213",
    r"\cup": "\u222a",
    r"\cap": "\u2229",
    r"\in": "\u2208",
    r"\emptyset": "\u2205",
    r"\theta": "\u03b8",
    r"\alpha": "\u03b1",
    r"\beta": "\u03b2",
    r"\gamma": "\u03b3",
    r"\lambda": "\u03bb",
    r"\phi": "\u03c6",
    r"\infty": "\u221e",
    r"\mu": "\u03bc \u00b5",
    r"\omega": "\u03c9",
}
SPELLINGS = {other: one for one, others in _COMMAND_SPELLINGS.items() for other in others.split()} | {
    # A blank is added, because a letter may follow: `2\u03c0r`.
    other: f"{one} "
    for one, others in _CHARACTERS.items()
    for other in others.split()
}
"""One spelling for each command and character that has several."""
WORDS = {name: rf"\{name} " for name in FUNCTIONS} | {
    "or": OR,
    "and": AND,
    "pi": r"\pi ",
    "infinity": r"\infty ",
    "inf": r"\infty ",
    "oo": r"\infty ",
    "asin": r"\arcsin ",
    "acos": r"\arccos ",
    "atan": r"\arctan ",
    "theta": r"\theta ",
    "degrees": DEGREE,
    "degree": DEGREE,
    "deg": DEGREE,
    "percent": r"\%",
}
"""Words that stand for a command when written without a backslash."""
