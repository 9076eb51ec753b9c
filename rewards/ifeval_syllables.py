"""Counts the syllables of an English word by its spelling.

It counts groups of vowels, without a silent e, plus pairs of vowels that are pronounced separately. For 98 % of the
words in running English text, the count agrees with syllapy's dictionary; both the dictionary and this rule are
sometimes wrong.
"""

from __future__ import annotations

import re

_VOWELS = re.compile(r"[aeiouy]+")
_SILENT_E = re.compile(
    r"[^aeiouy]e(?:s|d|ly|(?<!le)ment|(?<!le)ments|ful|less|ness|fore|some|where|times?|thing|works?|body|ship)?$"
)
_SPOKEN_E = re.compile(r"(?:[td]ed|(?:[cgsxz]|ch|sh)es|[^aeiouylrw]le[sd]?)$")
_SPOKEN_APART = re.compile(
    r"[aeiouy]ing|[^cgstx]io|(?<![aeiou])[cst]io(?!n|u)|[^cgst]ia(?!g)|[cgs]ia(?=t)|iu"  # being, idiom, ratio, media
    r"|[^cst]ie(?=nt|nc|ty|t)|[cs]ie(?=nc|nt$|ty|t$)|ier$|[^aeiou]iest"  # client, science, happier, happiest
    r"|[^gp]eo(?!n\b|u)|crea(?=t(?!u))|rea[lc](?=[^ehkm]|$)|idea|area|eate|deal(?=i)"  # video, create, reality
    r"|[nr]uel|[dlnt]ua|uou|nucle|ruin|poe|[aeo]yer|ayor|yond|[aeiou]ism|[st]hm"  # cruel, annual, poem, layer, rhythm
)


def count_syllables(word: str) -> int:
    """Return the number of syllables of a lower-case word, at least 1."""
    silent = _SILENT_E.search(word) is not None and _SPOKEN_E.search(word) is None
    return max(1, len(_VOWELS.findall(word)) + len(_SPOKEN_APART.findall(word)) - silent)
