"""Answers that show their arithmetic: `12 + 6 = 18` names 18, because both sides are equal."""

from __future__ import annotations

import ast
import re
from fractions import Fraction

LONGEST_SUM = 100
_SUM = re.compile(r"(?P<words>(?:.*[A-Za-z:,]\s)?)(?P<sum>[\d\s.+*/()\u00d7\u00f7\u00b7-]*)=(?P<rest>[^=]*)")
_SWAPPED = re.compile(r"(?P<rest>\s*[+-]?\d[\d.]*\s*)=(?P<sum>[\d\s.+*/()\u00d7\u00f7\u00b7-]*)")
_NUMBER = re.compile(r"\s*[$]?\s*(?P<value>[+-]?\d+(?:\.\d+)?)(?![\d^!/*+-])")
_TEXT_OPERATORS = str.maketrans({"\u00d7": "*", "\u00b7": "*", "\u00f7": "/"})


def result_of_sum(text: str) -> str | None:
    """Return the text with the result in place of the sum, if a sum of plain numbers equals the result beside it.

    None if the text holds no such sum, or one whose sides differ.
    """
    if len(text) > LONGEST_SUM or text.count("=") != 1:
        return None
    found = _SUM.fullmatch(text) or _SWAPPED.fullmatch(text)
    if found is None or not any(operator in found["sum"].strip()[1:] for operator in "+-*/\u00d7\u00f7\u00b7"):
        return None
    result = _NUMBER.match(found["rest"])
    if result is None or _value(found["sum"]) != Fraction(result["value"]):
        return None
    return found.groupdict().get("words", "") + found["rest"].strip()


def _value(text: str) -> Fraction | None:
    """Evaluate sums, products and quotients of plain numbers; None for anything else."""
    try:
        return _evaluated(ast.parse(text.translate(_TEXT_OPERATORS).strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _evaluated(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as value):
            return Fraction(repr(value))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluated(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _evaluated(left) + _evaluated(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _evaluated(left) - _evaluated(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _evaluated(left) * _evaluated(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _evaluated(left) / _evaluated(right)
        case _:
            raise ValueError("not a sum of plain numbers")
