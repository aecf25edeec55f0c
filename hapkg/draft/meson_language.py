"""The language of meson.build, followed as far as words go: what only a machine could answer is not known.

Both ways of an `if` whose condition is not known are followed, and are in doubt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

_TOKEN = re.compile(
    r"[ \t\r]+|\\\n|#[^\n]*"
    r"|(f?'''.*?'''|f?'(?:\\.|[^'\\\n])*'|[A-Za-z_]\w*|\d\w*|[=!<>+]=|[-()\[\]{},:.?+/*%=<>\n])",
    re.DOTALL,
)
_OPERATORS = (("or",), ("and",), ("==", "!=", "<", ">", "<=", ">=", "in", "not"), ("+", "-"), ("*", "/", "%"))
"""From the loosest to the tightest."""
_TOKENS, _NESTING, _LENGTH = 500_000, 100, 5000
"""How much is followed: nobody writes more by hand."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What a call gives: a target, a dependency, a module."""

    name: str = ""
    modules: tuple[str, ...] = ()
    """The pkg-config files that it is, or that whoever links to it needs."""


Value: TypeAlias = "str | bool | list[Value] | Thing | None"
"""None is what is not known."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A function called, or a method, whose name begins with a dot."""

    name: str
    owner: Value
    words: list[Value]
    """What has no name; lists in it are spread out."""
    named: Mapping[str, Value]

    def get(self, name: str) -> str:
        """A string by its name; "" for another value and for none."""
        value = self.named.get(name)
        return value if isinstance(value, str) else ""

    def strings(self, name: str = "") -> list[str]:
        """The strings by a name, or of what has none; of a thing its name, "" for what is not known."""
        return find_strings(self.named.get(name, []) if name else self.words)


class TooMuchError(Exception):
    """Nobody wrote this by hand."""


class Follower:
    """Follows statements and gives every call to whoever knows what it means."""

    def __init__(self, call: Callable[[Call], Value]) -> None:
        self._call = call
        self._values: dict[str, Value] = {}
        self._left, self._nesting = _TOKENS, 0
        self._tokens: Sequence[str] = ()
        self._position = 0
        self.doubts = 0
        """How many conditions that are not known stand around what is followed."""

    def follow(self, text: str) -> None:
        """A whole file. Raises TooMuchError."""
        self._follow(_split(text))

    def _follow(self, statements: Sequence[list[str]]) -> None:
        position = 0
        self._spend(1)
        with self:
            while position < len(statements):
                self._spend(len(statements[position]))
                end = _find_end(statements, position)
                first = statements[position][0]
                if first == "if":
                    self._choose(statements[position:end])
                elif first == "foreach":
                    self._repeat(statements[position][1:], statements[position + 1 : end])
                else:
                    self._do(statements[position])
                position = end + 1

    def _spend(self, tokens: int) -> None:
        self._left -= tokens
        if self._left < 0:
            raise TooMuchError

    def __enter__(self) -> None:
        self._nesting += 1
        if self._nesting > _NESTING:
            raise TooMuchError

    def __exit__(self, *_: object) -> None:
        self._nesting -= 1

    def _choose(self, block: Sequence[list[str]]) -> None:
        """The ways of an `if`: the first that is true, and those before it that may be."""
        before, depth, starts = self.doubts, 0, [0]
        for number, (first, *_) in enumerate(block):
            starts += [number] if depth == 1 and first in ("elif", "else") else []
            depth += (first in ("if", "foreach")) - (first in ("endif", "endforeach"))
        for start, end in zip(starts, [*starts[1:], len(block)], strict=True):
            holds = block[start][0] == "else" or self.evaluate(block[start][1:])
            if holds is False:
                continue
            self.doubts += holds is not True
            self._follow(block[start + 1 : end])
            if holds is True:
                break
        self.doubts = before

    def _repeat(self, head: Sequence[str], body: Sequence[list[str]]) -> None:
        """A `foreach`: the body for each item of a list that is known, once for any other."""
        name, colon = (*head, "", "")[:2]
        items = self.evaluate(head[2:]) if colon == ":" else None
        if isinstance(items, list):
            for item in items:
                self._values[name] = item
                self._follow(body)
        else:
            self.doubts += 1
            self._values.update(dict.fromkeys(word for word in head if word in self._values))
            self._follow(body)
            self.doubts -= 1

    def _do(self, statement: Sequence[str]) -> None:
        name, operator = (*statement, "")[:2]
        if operator not in ("=", "+="):
            self.evaluate(statement)
            return
        value = self.evaluate(statement[2:])
        if operator == "+=":
            value = _combine("+", self._values.get(name), value)
        if value is not None or not self.doubts:
            self._values[name] = value

    def evaluate(self, tokens: Sequence[str]) -> Value:
        """The value of an expression."""
        self._tokens, self._position = tokens, 0  # an expression is read to its end before another one begins
        return self._read()

    def _peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        """The next token, if it is one of these (or any, when none is named); else ""."""
        token = self._peek()
        if not token or (wanted and token not in wanted):
            return ""
        self._position += 1
        return token

    def _read(self) -> Value:
        """A whole expression, with `a ? b : c`."""
        with self:
            value = self._read_level(0)
            if not self._take("?"):
                return value
            first = self._read()
            self._take(":")
            second = self._read()
            return first if value is True else second if value is False else first or second

    def _read_level(self, level: int) -> Value:
        if level == len(_OPERATORS):
            return self._read_operand()
        value = self._read_level(level + 1)
        while operator := self._take(*_OPERATORS[level]):
            negated = operator == "not" and self._take("in")
            found = _combine("in" if negated else operator, value, self._read_level(level + 1))
            value = (not found) if negated and isinstance(found, bool) else found
        return value

    def _read_operand(self) -> Value:
        token = self._take()
        value: Value = None
        if token in ("not", "-"):
            with self:
                value = self._read_operand()
            return not value if token == "not" and isinstance(value, bool) else None
        if token == "(":
            value = self._read()
            self._take(")")
        elif token in ("[", "{"):
            words, _ = self._read_words("]" if token == "[" else "}")
            value = words if token == "[" else None
        elif token.endswith("'"):
            value = self._read_string(token)
        elif token in ("true", "false"):
            value = token == "true"
        elif self._peek() == "(":
            value = self._read_call(token, None)
        else:
            value = self._values.get(token)
        while mark := self._take(".", "["):
            if mark == "[":
                self._read_words("]")
                value = None
            else:
                value = self._read_call(f".{self._take()}", value)
        return value

    def _read_call(self, name: str, owner: Value) -> Value:
        if not self._take("("):
            return None
        words, named = self._read_words(")")
        spread = [item for word in words for item in (word if isinstance(word, list) else [word])]
        tokens, position = self._tokens, self._position
        value = self._call(Call(name=name, owner=owner, words=spread, named=named))
        self._tokens, self._position = tokens, position  # subdir() has read other expressions
        return value

    def _read_words(self, end: str) -> tuple[list[Value], dict[str, Value]]:
        """What stands between brackets: items, and values by name."""
        words: list[Value] = []
        named: dict[str, Value] = {}
        while self._peek() and not self._take(end):
            start = self._position
            value = self._read()
            if self._take(":"):
                named[self._tokens[start].strip("'")] = self._read()
            else:
                words.append(value)
            if not self._take(",") and self._peek() != end:
                self._take()  # nothing that meson would take: go on behind it
        return words[:_LENGTH], named

    def _read_string(self, token: str) -> Value:
        if token.startswith(("'''", "f'''")):
            text = token.removeprefix("f")[3:-3]
        else:
            plain = token.removeprefix("f")[1:-1]
            text = re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), plain)
        if not token.startswith("f"):
            return text
        return format_string(text, {name: self._values.get(name) for name in re.findall(r"@(\w+)@", text)})


def format_string(text: str, values: Mapping[str, Value]) -> str | None:
    """A string with @NAME@ replaced; None when one is no string that is known."""
    known = {name: value for name, value in values.items() if isinstance(value, str)}
    names = set(re.findall(r"@(\w+)@", text))
    made = re.sub(r"@(\w+)@", lambda match: known.get(match[1], ""), text)
    return made if names <= known.keys() and len(made) < _LENGTH else None


def join(*parts: Value) -> Value:
    """The path of these parts, as meson's / makes it."""
    path = ""
    for part in parts:
        if not isinstance(part, str):
            return None
        path = part if not path or part.startswith(("/", "@")) else f"{path}/{part}"
    return path if len(path) < _LENGTH else None


def find_strings(value: Value) -> list[str]:
    """The strings in a value; of a thing its name, "" for what is not known."""
    if isinstance(value, list):
        return [text for item in value for text in find_strings(item)]
    return [value.name if isinstance(value, Thing) else value if isinstance(value, str) else ""]


def find_modules(value: Value) -> tuple[str, ...]:
    """The pkg-config files of the things in a value."""
    if isinstance(value, list):
        return tuple(dict.fromkeys(module for item in value for module in find_modules(item)))
    return value.modules if isinstance(value, Thing) else ()


def _combine(operator: str, left: Value, right: Value) -> Value:
    """left OPERATOR right, or None."""
    found: Value = None
    if operator == "/":
        found = join(left, right)
    elif operator == "+" and isinstance(left, list):
        found = [*left, *(right if isinstance(right, list) else [right])][:_LENGTH]
    elif operator == "+" and isinstance(left, str) and isinstance(right, str):
        found = (left + right)[:_LENGTH]
    elif operator in ("and", "or"):
        decisive = operator == "or"
        if left is decisive or right is decisive:
            found = decisive
        elif left is (not decisive) and right is (not decisive):
            found = not decisive
    elif operator in ("==", "!=") and type(left) is type(right) and isinstance(left, (str, bool)):
        found = (left == right) == (operator == "==")
    elif operator == "in" and isinstance(right, list) and isinstance(left, str) and None not in right:
        found = left in right
    return found


def _split(text: str) -> list[list[str]]:
    """Statements, each the list of its tokens."""
    statements: list[list[str]] = [[]]
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[1]
        if token == "\n" and depth == 0:
            statements.append([])
        elif token and token != "\n":
            depth = max(0, depth + (token in "([{") - (token in ")]}"))
            statements[-1].append(token)
    return [statement for statement in statements if statement]


def _find_end(statements: Sequence[list[str]], position: int) -> int:
    """Where the block that begins at a position ends; the position itself, when none does."""
    depth = 0
    for number in range(position, len(statements)):
        first = statements[number][0]
        depth += (first in ("if", "foreach")) - (first in ("endif", "endforeach"))
        if depth <= 0:
            return number
    return len(statements)
