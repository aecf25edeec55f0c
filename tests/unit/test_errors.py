"""Failures: each kind has an exit code of its own, and the documentation tells it."""

from __future__ import annotations

import inspect
import re

from hypothesis import given
from hypothesis import strategies as st

from hapkg import errors
from hapkg.errors import HapkgError, did_you_mean
from tests.support.samples import CHECKOUT

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HapkgError)]


def test_every_kind_of_failure_has_its_own_exit_code() -> None:
    codes = [kind.exit_code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert not {0, 70} & set(codes)  # done, and a bug in hapkg
    assert all(0 < code < 256 for code in codes)


def test_the_documentation_lists_exactly_these_codes() -> None:
    text = (CHECKOUT / "docs" / "errors.md").read_text("utf-8")
    documented = {name: int(code) for code, name in re.findall(r"^\| (\d+) \| (\w+) \|", text, re.MULTILINE)}
    assert documented == {kind.__name__: kind.exit_code for kind in KINDS if kind is not HapkgError}
    unnamed = [int(code) for code in re.findall(r"^\| (\d+) \| +\|", text, re.MULTILINE)]
    assert unnamed == [0, HapkgError.exit_code, 70]


def test_an_error_carries_sentence_evidence_and_remedy() -> None:
    error = HapkgError("it broke", details=(line for line in ("a", "b")), hint="mend it")
    assert (str(error), error.brief, error.details, error.hint) == ("it broke", "it broke", ("a", "b"), "mend it")
    assert (HapkgError("x").details, HapkgError("x").hint) == ((), "")


def test_a_guess_is_the_nearest_known_word() -> None:
    known = ["build-depends", "depends", "version"]
    assert did_you_mean("dependz", known) == "did you mean depends?"
    assert did_you_mean("qqq", known) == ""
    assert did_you_mean("version", []) == ""


@given(st.text(max_size=8), st.sets(st.text(min_size=1, max_size=8), max_size=5))
def test_a_guess_is_nothing_but_a_known_word(word: str, known: set[str]) -> None:
    assert did_you_mean(word, known) in {"", *(f"did you mean {name}?" for name in known)}
