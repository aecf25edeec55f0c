"""OSV by commit: a server that answers as the service's documentation says, and ones that do not."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from hapkg.control import SourceName, Suite
from hapkg.currency.audit import Verdict, audit
from hapkg.currency.osv import ask_osv
from hapkg.currency.tracker import TrackerData
from hapkg.errors import FetchError, IntegrityError
from tests.support.samples import AUTOTOOLS, make_recipe_from

ONE, TWO = "a" * 40, "b" * 40


@dataclass
class Service:
    """Answers by question."""

    address: str = ""
    answers: list[Any] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            content = found.answers.pop(0)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.address = f"http://127.0.0.1:{server.server_port}/"
        yield found
        server.shutdown()


def recipe(commit: str | None, source: str = "ha-one") -> Any:
    upstream = {**AUTOTOOLS["upstream"], **({"commit": commit} if commit else {})}
    packages = [{**AUTOTOOLS["packages"][0], "package": source}]
    return make_recipe_from({**AUTOTOOLS, "source": source, "upstream": upstream, "packages": packages})


def test_every_commit_is_asked_for_page_by_page(service: Service) -> None:
    service.answers = [
        {"results": [{"vulns": [{"id": "CVE-2026-0002", "modified": "x"}], "next_page_token": "more"}, {}]},
        {"results": [{"vulns": [{"id": "OSV-2026-1"}]}]},
    ]
    recipes = [recipe(ONE), recipe(TWO, "ha-two"), recipe(None, "ha-three")]
    assert ask_osv(recipes, service.address) == {"ha-one": ("CVE-2026-0002", "OSV-2026-1"), "ha-two": ()}
    assert service.asked == [
        {"queries": [{"commit": ONE}, {"commit": TWO}]},
        {"queries": [{"commit": ONE, "page_token": "more"}]},
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[" * 100_000,
        [],
        {"results": []},
        {"results": [[]]},
        {"results": [{"vulns": 7}]},
        {"results": [{"vulns": ["CVE-2026-0002"]}]},
        {"results": [{"vulns": [{"id": "\x1b[2J"}]}]},
    ],
)
def test_another_answer_is_no_good_news(service: Service, answer: Any) -> None:
    service.answers = [answer]
    with pytest.raises(IntegrityError, match="does not answer as OSV does"):
        ask_osv([recipe(ONE)], service.address)


def test_pages_without_end_have_one(service: Service) -> None:
    service.answers = [{"results": [{"next_page_token": "more"}]}] * 100
    with pytest.raises(IntegrityError, match="no end of pages"):
        ask_osv([recipe(ONE)], service.address)


def test_a_service_that_is_not_there_is_told() -> None:
    with pytest.raises(FetchError, match="cannot be reached"):
        ask_osv([recipe(ONE)], "http://127.0.0.1:1/")


def test_what_only_osv_knows_is_open_until_somebody_decides() -> None:
    data = TrackerData(where="data", packages=1, holes={})
    osv = {SourceName("ha-one"): ("OSV-2026-1",)}
    (found,) = audit([recipe(ONE)], data, Suite("bookworm"), osv)
    assert (found.id, found.verdict, found.why) == ("OSV-2026-1", Verdict.OPEN, "OSV: in commit aaaaaaaaaaaa")
    advisory = {"id": "OSV-2026-1", "status": "not-affected", "why": "the range is wrong"}
    decided = make_recipe_from({**AUTOTOOLS, "advisories": [advisory]})
    assert audit([decided], data, Suite("bookworm"), osv)[0].verdict is Verdict.NOT_AFFECTED
