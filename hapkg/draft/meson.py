"""Build dependencies and statements of a source's meson.build, read call by call: nothing of it is followed or runs.

A name that only a variable holds is not known. Files of subprojects are left out: no build downloads or builds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_FILE = re.compile(r"(?!subprojects/)(.*/)?meson\.build")
_COMMENT = re.compile(r"(?m)^((?:[^#'\n]|'(?:[^'\\\n]|\\.)*')*)#.*$")
_TOKEN = re.compile(
    r"'''(?P<long>.*?)'''|'(?P<text>(?:[^'\\\n]|\\.)*)'|(?P<key>[A-Za-z_]\w*)\s*:|\w+|(?P<other>.)", re.DOTALL
)
_LONGEST, _DEEPEST = 5000, 50
"""Letters and parentheses of a call that are looked at."""
_WORD = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)
_COMPILERS = {"vala": "valac", "rust": "rustc", "fortran": "gfortran", "cython": "cython3"}
"""Programs of the languages that are not always there."""


@dataclass(kw_only=True)
class Meson:
    """Statements of the meson.build files; nothing where there are none."""

    name: str = ""
    version: str = ""
    license: str = ""
    at_least: str = ""
    """The version of meson that they take."""
    summaries: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    """Descriptions and addresses of pkg-config files."""
    words: dict[str, bool] = field(default_factory=dict)
    """Words that the build asks for, as find_words() of autotools gives them."""
    subprojects: set[str] = field(default_factory=set)
    both: bool = False
    """Libraries become static as well, unless meson is told."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call: its plain strings and, by name, the strings of its keyword arguments."""

    strings: Sequence[str]
    named: Mapping[str, Sequence[str]]

    def get(self, name: str) -> str:
        """The one string of a keyword argument, or ""."""
        return "".join(self.named.get(name, ())[:1])


def read_meson(files: Mapping[str, str]) -> Meson:
    """Read the meson.build at the top and those below it."""
    found = Meson()
    if "meson.build" not in files:
        return found
    paths = sorted(filter(_FILE.fullmatch, files), key=lambda path: (path.count("/"), path))
    text = _COMMENT.sub(r"\1", "\n".join(files[path] for path in paths))
    _read_project(found, next(read_calls(text, "project"), Call(strings=(), named={})))
    for call in read_calls(text, "dependency"):
        found.words.update({f"{name}.pc": True for name in call.strings[:1] if _WORD.fullmatch(name)})
        found.subprojects.update(call.named.get("fallback", ())[:1])
    for call in read_calls(text, "find_library"):
        found.words.update({f"-l{name}": True for name in call.strings[:1] if _WORD.fullmatch(name)})
    for call in read_calls(text, "has_header|check_header"):
        found.words.update(dict.fromkeys(filter(None, call.strings[:1]), False))
    for call in read_calls(text, "find_program"):
        found.words.update({name: False for name in call.strings if _WORD.fullmatch(name)})
    for call in read_calls(text, "subproject"):
        found.subprojects.update(call.strings[:1])
    for call in read_calls(text, "generate"):
        found.summaries += filter(None, [call.get("description")])
        found.pages += filter(None, [call.get("url")])
    if re.search(r"\bfind_installation\s*\(", text):
        found.words["python3"] = False
    found.both |= bool(re.search(r"\bboth_libraries\s*\(", text))
    inside = (re.match(r"subprojects/(?:([^/]+)\.wrap$|([^/]+)/)", path) for path in files)
    found.subprojects |= {match[1] or match[2] for match in inside if match}
    found.subprojects = {name for name in found.subprojects if _WORD.fullmatch(name)}
    return found


def _read_project(found: Meson, call: Call) -> None:
    """Enter what project() says."""
    name, *languages = call.strings or [""]
    least = re.fullmatch(r">=?\s*([0-9][0-9.]*)", call.get("meson_version").strip())
    found.name, found.version = name, call.get("version")
    found.license = " AND ".join(text for text in call.named.get("license", ()) if text)
    found.at_least = least[1] if least else ""
    found.both = "default_library=both" in call.named.get("default_options", ())
    found.words.update({_COMPILERS[word]: True for word in languages if word in _COMPILERS})


def read_calls(text: str, names: str) -> Iterator[Call]:
    """Every call of these functions or methods (a regular expression); calls inside its arguments count for nothing."""
    for match in re.finditer(rf"(?<!\w)(?:{names})\s*\(", text):
        plain: list[str] = []
        named: dict[str, list[str]] = {}
        current, depth = plain, 0
        for token in _TOKEN.finditer(text, match.end(), match.end() + _LONGEST):
            depth += (token["other"] == "(") - (token["other"] == ")")
            if not 0 <= depth < _DEEPEST:
                break
            if depth == 0 and token["key"]:
                current = named.setdefault(token["key"], [])
            elif depth == 0 and token["text"] is not None:
                current.append(re.sub(r"\\(.)", r"\1", token["text"]))
            elif depth == 0 and token["long"] is not None:
                current.append(token["long"])
        yield Call(strings=plain, named=named)
