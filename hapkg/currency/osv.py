"""OSV: holes by the commit that a release was made of, which needs no name that Debian gave it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hapkg.control import SourceName
from hapkg.errors import FetchError, IntegrityError
from hapkg.recipe.model import Recipe
from hapkg.source.origins.tarball import post

ADDRESS = "https://api.osv.dev/v1/querybatch"
_MOST_BYTES = 32 << 20
_MOST_PAGES = 20
_ID = re.compile(r"[A-Za-z]+-[A-Za-z0-9-]{1,60}")


def ask_osv(recipes: Iterable[Recipe], address: str = ADDRESS) -> Mapping[SourceName, tuple[str, ...]]:
    """Ids of holes that OSV knows of the recipes' commits, sorted; of those alone that name a commit of git.

    Raises FetchError when the service does not answer, IntegrityError when it answers something else.
    """
    known = ((recipe.name, recipe.upstream.commit_in("git")) for recipe in recipes if recipe.upstream)
    commits = {name: commit for name, commit in known if commit}
    found: dict[SourceName, set[str]] = {name: set() for name in commits}
    pending = {name: {"commit": commit} for name, commit in commits.items()}
    for _ in range(_MOST_PAGES):
        if not pending:
            return {name: tuple(sorted(ids)) for name, ids in found.items()}
        results = _ask(address, [*pending.values()])
        names, pending = [*pending], {}
        for name, result in zip(names, results, strict=True):
            found[name] |= _read_ids(result, address)
            if token := result.get("next_page_token"):
                pending[name] = {"commit": commits[name], "page_token": token}
    raise IntegrityError(f"{address} has no end of pages", hint="leave out --osv")


def _ask(address: str, queries: list[dict[str, str]]) -> list[dict[str, Any]]:
    """A result for each query, in their order."""
    try:
        content = post(address, json.dumps({"queries": queries}).encode(), most_bytes=_MOST_BYTES)
    except FetchError as error:
        raise FetchError(f"{address}: {error.brief}", hint="check the network, or leave out --osv") from error
    try:
        results = json.loads(content)["results"]
    except (ValueError, RecursionError, KeyError, TypeError) as cause:
        raise _refuse(address) from cause
    if not isinstance(results, list) or len(results) != len(queries):
        raise _refuse(address)
    if not all(isinstance(result, dict) for result in results):
        raise _refuse(address)
    return results


def _read_ids(result: Mapping[str, Any], address: str) -> set[str]:
    entries = result.get("vulns", [])
    ids = (
        [entry.get("id") if isinstance(entry, dict) else None for entry in entries]
        if isinstance(entries, list)
        else [0]
    )
    if not all(isinstance(id_, str) and _ID.fullmatch(id_) for id_ in ids):
        raise _refuse(address)
    return {str(id_) for id_ in ids}


def _refuse(address: str) -> IntegrityError:
    return IntegrityError(f"{address} does not answer as OSV does", hint="leave out --osv")
