"""Reads the legal citations in a text: cases and journals by eyecite, federal codes by a grammar of this module.

eyecite 2.7 knows the reporters. But it reads `17 C.F.R. § 240.10b-5` as section 240, does not read `15 U.S.C. § 78j(b)`
at all, and lets a citation inherit the year of the previous one; sections and years are therefore read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rewards.extraction import plain_characters

_SECTION = r"(?P<section>\d\w{0,9}(?:[.-]\w{1,9}){0,6})(?P<parts>(?:\s?\(\w{1,6}\)){0,8})"
_FEDERAL_CODE = re.compile(
    r"(?<![\w.])(?P<title>\d{1,3})\s(?P<code>U\.?\s?S\.?\s?C\.?(?:\s?A\.?)?|C\.?\s?F\.?\s?R\.?)"
    rf"(?:\s?(?:§§?|[Ss]ec(?:tion|\.)))?\s?{_SECTION}"
)
_MORE_SECTION = re.compile(r"((?:[.-]?\w{1,9}){0,6})((?:\s?\(\w{1,6}\)){0,8})")
_YEAR = re.compile(r"[^();]{0,120}\((?:[^()]{0,60}?\s)?(\d{4})\)")
_PIN = re.compile(r",\s?(?:at\s)?(\d{1,5})")
_MONTHS = "Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec|No|Mr|Mrs|Ms|Dr"
_UNKNOWN = re.compile(
    rf"(?<![\w.])(?P<volume>\d{{1,4}})\s(?P<reporter>(?!(?:{_MONTHS})\.)[A-Z][A-Za-z]{{0,11}}\."
    r"(?:\s?(?:[A-Z][A-Za-z]{0,11}\.|\d[a-z]{1,2}\.?)){0,4})\s(?P<page>\d{1,6})(?!\w)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation:
    """One full citation. Example: `410 U. S. 113, 120 (1973)` has key ("U.S.", "410", "113"), pin 120, year 1973."""

    key: tuple[str, ...]
    """Reporter, volume and page; or code, title and section."""
    pin: str = ""
    """A page within a case, or the subsections of a section; empty if none is named."""
    year: str = ""
    known: bool = True
    """Whether the reporter exists."""


def read_citations(text: str) -> list[Citation]:
    """Return all full citations in order; short forms, `id.` and `supra` cite nothing by themselves and are left
    out.
    """
    text = re.sub("[\u2010-\u2015]", "-", " ".join(plain_characters(text).split()))
    spans = [*_federal_codes(text), *_by_eyecite(text)]
    taken = [False] * (len(text) + 1)
    found: list[tuple[int, Citation]] = []
    for start, stop, citation in spans:
        if not any(taken[start:stop]):
            taken[start:stop] = [True] * (stop - start)
            if citation is not None:
                found.append((start, citation))
    for match in _UNKNOWN.finditer(text):
        if not any(taken[match.start() : match.end()]):
            key = (match["reporter"], match["volume"], match["page"])
            found.append((match.start(), Citation(key=key, known=False)))
    return [citation for _, citation in sorted(found, key=lambda item: item[0])]


def _federal_codes(text: str) -> Iterator[tuple[int, int, Citation]]:
    for match in _FEDERAL_CODE.finditer(text):
        code = "U.S.C." if match["code"].startswith("U") else "C.F.R."
        key = (code, str(int(match["title"])), match["section"].lower())
        yield match.start(), match.end(), Citation(key=key, pin=_joined(match["parts"]), year=_year(text, match.end()))


def _by_eyecite(text: str) -> Iterator[tuple[int, int, Citation | None]]:
    """Yield the spans that eyecite found; None for forms that cite nothing by themselves."""
    from eyecite import get_citations
    from eyecite.models import FullCaseCitation, FullJournalCitation, FullLawCitation, ShortCaseCitation

    # The leading space prevents the text from equalling eyecite's own name, for which it returns a joke.
    for found in get_citations(" " + text):
        start, stop = (offset - 1 for offset in found.span())
        if isinstance(found, FullCaseCitation | FullJournalCitation):
            volume, page = found.groups.get("volume"), found.groups.get("page")
            if volume and page:
                pin = _PIN.match(text, stop)
                key = (_reporter(found), volume, page.lower())
                year = _year(text, stop)
                yield start, stop, Citation(key=key, pin=pin[1] if pin else "", year=year)
        elif isinstance(found, FullLawCitation):
            more = _MORE_SECTION.match(text, stop)
            assert more is not None, "the pattern also matches nothing"
            names = [found.groups[name] for name in ("title", "chapter", "volume", "page") if found.groups.get(name)]
            section = (found.groups.get("section") or "") + more[1]
            key = (_code(found), *names, section.lower())
            yield start, more.end(), Citation(key=key, pin=_joined(more[2]), year=_year(text, more.end()))
        elif isinstance(found, ShortCaseCitation):
            yield start, stop, None


def _reporter(found: Any) -> str:
    """Return the usual abbreviation; for an ambiguous one, all reporters that it may stand for."""
    if found.edition_guess is not None:
        return str(found.edition_guess.short_name)
    return " or ".join(sorted({edition.short_name for edition in found.all_editions}))


def _code(found: Any) -> str:
    """Distinguish the subject of a state code, because eyecite has one entry for all subjects of a state's code."""
    return " ".join(filter(None, (_reporter(found), found.groups.get("subject")))).strip()


def _year(text: str, position: int) -> str:
    year = _YEAR.match(text, position)
    return year[1] if year else ""


def _joined(parts: str) -> str:
    return "".join(parts.split()).lower()
