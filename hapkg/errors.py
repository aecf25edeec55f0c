"""Every way hapkg fails, and the exit code of each.

An error is data: one sentence that says what is wrong (``brief``), the lines that prove it (``details``) and what
to do about it (``hint``). Nothing below the command line prints or exits; it raises one of these.
docs/errors.md lists the exit codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from hapkg.text import printable


class HapkgError(Exception):
    """Base of every failure hapkg foresees.

    brief: one sentence without a full stop; details: zero or more lines; hint: the remedy, one sentence or "". All are
    printable, whatever text of others they quote.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, brief: str, *, details: Iterable[str] = (), hint: str = "") -> None:
        self.brief, self.hint = _clean(brief), _clean(hint)
        self.details = tuple(map(_clean, details))
        super().__init__(self.brief)


class UsageError(HapkgError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class ConfigError(HapkgError):
    """The project's configuration is wrong or missing."""

    exit_code = 3


class RecipeError(HapkgError):
    """A recipe says something it must not, or leaves out what it must say."""

    exit_code = 4


class GraphError(HapkgError):
    """The recipes contradict each other: a cycle, a duplicate, a dependency nobody provides."""

    exit_code = 5


class FetchError(HapkgError):
    """No origin could deliver the source: the network's failure, or the origin's."""

    exit_code = 6


class IntegrityError(HapkgError):
    """Bytes are not what was promised: a checksum or a signature does not match."""

    exit_code = 7


class SourceError(HapkgError):
    """The source package cannot be made: a patch does not apply, the tarball cannot be read."""

    exit_code = 8


class MachineError(HapkgError):
    """This machine cannot do it: a tool, a privilege or disk space is missing."""

    exit_code = 9


class BuildError(HapkgError):
    """The package does not build, or what it built breaks the rules of the prefix."""

    exit_code = 10


class RepositoryError(HapkgError):
    """The apt repository cannot be published as asked."""

    exit_code = 11


class BusyError(HapkgError):
    """Another hapkg works on the same state."""

    exit_code = 12


class ProcessError(HapkgError):
    """A program failed where nothing more exact is known about why."""

    exit_code = 13


class SiteError(HapkgError):
    """The site file is wrong, or the programs of the stack refuse what follows from it."""

    exit_code = 14


class ProofError(HapkgError):
    """A step of the proof failed: the stack does not do what it must, or a machine of the proof did not answer."""

    exit_code = 15


class Interrupted(HapkgError):  # noqa: N818 - an end that was asked for, not an error of anything
    """Ctrl-C, or a request to stop."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A guess for a mistyped word, as a sentence, or ""."""
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes alone

    guesses = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean {guesses[0]}?" if guesses else ""


def _clean(text: object) -> str:
    return "\n".join(map(printable, str(text).split("\n")))
