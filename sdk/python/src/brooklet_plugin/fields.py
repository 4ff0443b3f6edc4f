"""Fields of JSON texts, found where they stand, so that everything else can stay byte for byte what it is: numbers as
they are written, members in their order, names that are there twice.

The decoder of the standard library says whether it is JSON at all, natively; then only what lies on the way to a path
is looked at.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from .errors import Reject

_SPACE = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s]*")
_NEXT = re.compile(rb'["{}\[\]]')
# One token with the spaces before it: punctuation, or a string, or another scalar.
_TOKEN = re.compile(
    rb"[ \t\n\r]*+(?:([{}\[\],:])"
    rb'|("[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+")'
    rb"|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null))"
)
# As deep as the decoder of the standard library may go: it recurses, and an instance's stack is small.
_DEPTH_MAX = 100


class Place(NamedTuple):
    """Positions of a field: of its value, and of the member with its name and the spaces around it."""

    index: int
    start: int
    end: int
    member_start: int
    member_end: int


def split(path: str) -> list[str]:
    """The names of a dotted path; a dot within a name is written `\\.`, a backslash `\\\\`."""
    names, name, characters = [], "", iter(path)
    for character in characters:
        if character == ".":
            names.append(name)
            name = ""
        elif character == "\\":
            character = next(characters, "")
            if character not in (".", "\\"):
                raise ValueError(f"in the path {path} a backslash stands before something other than a dot or a backslash")
            name += character
        else:
            name += character
    names.append(name)
    if "" in names:
        raise ValueError(f"the path {path} has an empty name in it")
    return names


class Paths:
    """A set of paths to look for. No path may lie within another."""

    def __init__(self, paths: list[str]):
        self._root: dict = {}
        for index, path in enumerate(paths):
            node = self._root
            *way, last = split(path)
            for name in way:
                node = node.setdefault(name, {})
                if not isinstance(node, dict):
                    raise _overlap(path)
            if last in node:
                raise _overlap(path)
            node[last] = index

    def find(self, text: bytes) -> Iterator[Place]:
        """The fields in the order of the text, with the index of their path. Raises Reject if it is no JSON."""
        if not is_json(text):
            raise _not_json()
        start = _SPACE.match(text).end()
        places: list[Place] = []
        if text[start:start + 1] == b"{":
            _walk(text, start, self._root, places)
        return iter(places)


def _overlap(path: str) -> ValueError:
    return ValueError(f"the path {path} is given twice, or lies within another")


def _not_json() -> Reject:
    return Reject("syntax", "the value is not JSON")


def _no_constant(name: str):
    raise ValueError(f"{name} is not JSON")


# Numbers stay text: what they are worth is of no interest, and may be beyond what can be calculated with.
_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_int=str, parse_float=str)


def is_json(text: bytes) -> bool:
    """Whether a text is JSON in UTF-8."""
    try:
        decoded = text.decode()
        if text.count(b"[") + text.count(b"{") > _DEPTH_MAX:
            return _is_json_however_deep(text)
        _DECODER.decode(decoded)
    except ValueError:
        return False
    return True


def _is_json_however_deep(text: bytes) -> bool:
    """The same, token by token, for texts that may be nested deeper than a stack bears."""
    at, open_brackets = 0, bytearray()
    expected = "value"
    while True:
        token = _TOKEN.match(text, at)
        if token is None:
            # Spaces are all that may be left.
            return expected == "end" and _SPACE.fullmatch(text, at) is not None
        at = token.end()
        sign, string, _ = token.groups()
        if sign is None:
            if expected in ("name", "name or }") and string is not None:
                expected = ":"
                continue
            if expected not in ("value", "value or ]"):
                return False
        elif sign in (b"{", b"["):
            if expected not in ("value", "value or ]"):
                return False
            open_brackets += sign
            expected = "name or }" if sign == b"{" else "value or ]"
            continue
        elif sign == b":":
            if expected != ":":
                return False
            expected = "value"
            continue
        elif sign == b",":
            if expected != ", or }" and expected != ", or ]":
                return False
            expected = "name" if expected == ", or }" else "value"
            continue
        else:
            opening = b"{" if sign == b"}" else b"["
            if not expected.endswith(sign.decode()) or not open_brackets.endswith(opening):
                return False
            open_brackets.pop()
        # A value is over.
        expected = "end" if not open_brackets else (", or }" if open_brackets.endswith(b"{") else ", or ]")


# From here on the text is known to be JSON.


def _value_end(text: bytes, at: int) -> int:
    """Behind the value that begins at `at`."""
    first = text[at:at + 1]
    if first == b'"':
        return _STRING.match(text, at).end()
    if first not in (b"{", b"["):
        return _SCALAR.match(text, at).end()
    depth = 0
    while True:
        at = _NEXT.search(text, at).start()
        sign = text[at:at + 1]
        if sign == b'"':
            at = _STRING.match(text, at).end()
            continue
        depth += 1 if sign in (b"{", b"[") else -1
        at += 1
        if depth == 0:
            return at


def _name(written: bytes) -> str:
    """A name as it is meant: `"na\\u006de"` is `name`."""
    if b"\\" not in written:
        return written[1:-1].decode()
    name = json.loads(written)
    try:
        name.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair is no character, and no name.
        raise _not_json() from None
    return name


def _walk(text: bytes, at: int, node: dict, places: list[Place]) -> int:
    """Goes through the object that begins at `at`; returns the position behind it."""
    member_start = at + 1
    at = _SPACE.match(text, member_start).end()
    if text[at:at + 1] == b"}":
        return at + 1
    while True:
        name_end = _STRING.match(text, at).end()
        child = node.get(_name(text[at:name_end]))
        start = _SPACE.match(text, _SPACE.match(text, name_end).end() + 1).end()
        if isinstance(child, dict) and text[start:start + 1] == b"{":
            end = _walk(text, start, child, places)
        else:
            end = _value_end(text, start)
        member_end = _SPACE.match(text, end).end()
        if isinstance(child, int):
            places.append(Place(child, start, end, member_start, member_end))
        if text[member_end:member_end + 1] == b"}":
            return member_end + 1
        member_start = member_end + 1
        at = _SPACE.match(text, member_start).end()
