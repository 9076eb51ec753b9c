"""Normalises values of network configuration: addresses, prefixes, AS numbers, VLAN sets, MAC addresses."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

HostBits = Literal["count", "ignore"]
"""`count`: 10.0.0.5/24 differs from 10.0.0.0/24. `ignore`: both are equal to their common prefix."""
_AS_NUMBER = re.compile(r"(?:asn?)?\s{0,2}(\d{1,10})(?:\.(\d{1,5}))?", re.IGNORECASE)
_AS_KEY = re.compile(r"(?:^|[_\s-])(?:\w{0,12}_)?asn?(?:$|[_\s-])|autonomous", re.IGNORECASE)
_VLANS = re.compile(r"\d{1,4}(?:\s?-\s?\d{1,4})?(?:\s?,\s?\d{1,4}(?:\s?-\s?\d{1,4})?){0,200}")
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}")
_HIGHEST_VLAN = 4094


def normal_value(text: str, *, key: str, host_bits: HostBits) -> str:
    """Normalise a value; `key` decides whether a bare number is an AS number or a VLAN.

    A value of an unknown kind keeps its characters, with single spaces.
    """
    text = " ".join(text.split())
    if _AS_KEY.search(key) or re.match(r"(?i)asn?\s?\d", text):
        number = as_number(text)
        if number is not None:
            return f"AS{number}"
    if "vlan" in key.lower():
        vlans = vlan_set(text)
        if vlans is not None:
            return "vlans " + ",".join(map(str, vlans))
    return " ".join(normal_words(text.split(" "), host_bits=host_bits))


def normal_words(words: list[str], *, host_bits: HostBits) -> list[str]:
    """Normalise each word; an address and the mask after it become a prefix."""
    normal: list[str] = []
    position = 0
    while position < len(words):
        following = words[position + 1] if position + 1 < len(words) else ""
        pair = _masked(words[position], following, host_bits=host_bits)
        normal.append(pair or normal_word(words[position], host_bits=host_bits))
        position += 2 if pair else 1
    return normal


def normal_word(word: str, *, host_bits: HostBits) -> str:
    """Normalise an address, prefix or MAC address; leave any other word as it is."""
    if _MAC.fullmatch(word):
        return "mac " + re.sub("[:.-]", "", word).lower()
    try:
        # A bare address is read as an address, because as an interface it would gain a prefix length.
        return _prefix(word, host_bits=host_bits) if "/" in word else str(ipaddress.ip_address(word))
    except ValueError:
        return word


def as_number(text: str) -> int | None:
    """Read an AS number written as 64512, AS64512 or, in two 16-bit halves, 1.10 (RFC 5396); None if it is not one."""
    match = _AS_NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    high, low = int(match[1]), match[2]
    if low is None:
        return high if high < 2**32 else None
    return high * 2**16 + int(low) if high < 2**16 and int(low) < 2**16 else None


def vlan_set(text: str) -> list[int] | None:
    """Return the VLANs of `10-12,20` in order; None if it is not a list of VLANs from 1 to 4094."""
    if _VLANS.fullmatch(text) is None:
        return None
    vlans = set[int]()
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        vlans.update(range(int(first), int(last or first) + 1))
        if not int(first) <= int(last or first):
            return None
    return sorted(vlans) if vlans and min(vlans) >= 1 and max(vlans) <= _HIGHEST_VLAN else None


def _masked(address: str, mask: str, *, host_bits: HostBits) -> str | None:
    """Return the prefix of an address and a dotted mask; None if they are not such a pair."""
    # A mask whose leading bits are not set is a wildcard, which other commands read differently.
    if not mask.startswith(("128.", "192.", "224.", "240.", "248.", "252.", "254.", "255.")) or "/" in address:
        return None
    try:
        return _prefix(f"{address}/{mask}", host_bits=host_bits)
    except ValueError:
        return None


def _prefix(text: str, *, host_bits: HostBits) -> str:
    interface = ipaddress.ip_interface(text)
    return str(interface.network if host_bits == "ignore" else interface)
