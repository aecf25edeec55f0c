"""Lines of a site file: where that comes from which a program refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hapkg.site.extra import find_first_line, join_lines
from hapkg.site.model import Site

_OWN_NAMES = re.compile(r"(?:drbd|ms_drbd|fs)_([A-Za-z0-9_-]+?)(?:_clone)?")
_PLACE = re.compile(r"(/\S+):(\d+):")
_PARAMETER = re.compile(r"\b(\w+) (?:timeout )?parameter\b|\bappropriate (\w+)|attribute '?([\w-]+)'?")
_VALUE = re.compile(r"^(\S+) is not a valid\b")
_NUMBERED = re.compile(r"(?:ERROR|WARNING): (\d+): ")


class SiteLines:
    """The lines of a site file, and of the files that follow from it."""

    def __init__(self, text: str, site: Site, files: Mapping[str, str]) -> None:
        """Take a site file's text, its site, and the files that were made of it by path."""
        self._lines = text.split("\n")
        self._files = files
        first = find_first_line(text)
        self._extra = {
            line.strip(): number
            for number, line in enumerate(site.crm.extra.split("\n"), first)
            if len(line.strip()) > 1 and not line.strip().startswith("#")
        }
        self._commands = {command.name: command.line + first - 1 for command in site.commands if command.name}

    def annotate(self, told: str) -> str:
        """A line of a program, with the line of the site file that it is about where that can be told."""
        number = next(self._find(told), 0)
        return f"{told} (line {number} of the site file)" if number else told

    def _find(self, told: str) -> Iterator[int]:
        """Lines of the site file that a program's line is about, the most certain first."""
        if (place := _PLACE.search(told)) and place[1] in self._files:
            rendered = self._files[place[1]].split("\n")
            if 0 < int(place[2]) <= len(rendered):
                yield from self._find_objects(told)
                yield from self._find_words(rendered[int(place[2]) - 1])
        if numbered := _NUMBERED.search(told):
            text = next((text for path, text in self._files.items() if path.endswith(".crm")), "")
            commands = [command for _, command in join_lines(text)]  # as crm counts them
            if 0 < int(numbered[1]) <= len(commands):
                yield from self._find_command(commands[int(numbered[1]) - 1])
        if parsed := re.search(r"parsing '(.+)'", told):
            yield from self._find_command(parsed[1])
        if parameter := _PARAMETER.search(told):
            key = next(name for name in parameter.groups() if name).replace("_", "-")
            yield from self._match(rf"""(?:\s*|.*[{{,]\s*)["']?{re.escape(key)}["']?\s*=""")
        if value := _VALUE.search(told):
            yield from self._find_words(value[1])
        yield from self._find_objects(told)

    def _find_command(self, command: str) -> Iterator[int]:
        """Lines of the file that a command of crm comes from."""
        if command in self._extra:
            yield self._extra[command]
        yield from self._find_objects(" ".join(command.split()[:3]))

    def _find_objects(self, text: str) -> Iterator[int]:
        """Lines where something is that a text names: an object of extra, a table with that name."""
        for word in _split(text):
            if word in self._commands:
                yield self._commands[word]
            own = _OWN_NAMES.fullmatch(word)
            for name in (word, own[1] if own else ""):
                if name:
                    yield from self._match(rf"""\s*(?:name\s*=|.*[{{,]\s*name\s*=)\s*["']{re.escape(name)}["']""")

    def _find_words(self, text: str) -> Iterator[int]:
        """The line that alone has one of a text's words."""
        for word in _split(text):
            found = list(self._match(rf".*(?<!\w){re.escape(word)}(?!\w)"))
            if len(word) > 3 and len(found) == 1:
                yield found[0]

    def _match(self, pattern: str) -> Iterator[int]:
        """Lines of the file that begin with a pattern."""
        yield from (number for number, line in enumerate(self._lines, 1) if re.match(pattern, line))


def _split(text: str) -> list[str]:
    return [word for part in re.split(r"[\s=<>]+", text) if (word := part.strip(":,;'\"()[]"))]
