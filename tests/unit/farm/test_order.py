"""Orders and answers as they travel."""

from __future__ import annotations

import pickle
import re

from hapkg.errors import BuildError, HapkgError
from hapkg.farm.order import Reply, describe_program


def test_a_program_is_its_version_and_its_code() -> None:
    assert re.fullmatch(r"\S+, code [0-9a-f]{12}", describe_program())


def test_an_error_travels_whole() -> None:
    error = BuildError("one breaks", details=("a line", "log: /there/build.log"), hint="mend it")
    there: Reply = pickle.loads(pickle.dumps(Reply(machine="far", error=error)))
    assert isinstance(there.error, HapkgError)
    assert (there.error.brief, there.error.details, there.error.hint) == (error.brief, error.details, error.hint)
    assert there.error.exit_code == BuildError.exit_code
