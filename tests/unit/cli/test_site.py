"""hapkg site on the command line: several clusters in one checkout, and a running one that becomes a file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.samples import CHECKOUT
from tests.unit.site.importing.test_cluster import CONF, CRM, RESOURCE
from tests.unit.site.importing.test_report import pack
from tests.unit.site.samples import BASE, NODES

HAPKG = Path(sys.executable).with_name("hapkg")

REPORTED = {"r/n1/drbd.d/r0.res": RESOURCE, "r/n2/corosync.conf": CONF.replace("token: 5000", "token: 6000")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(CHECKOUT / "pyproject.toml", folder)
    return folder


def run(project: Path, *argv: str | Path) -> tuple[int, str, str]:
    line = [str(HAPKG), "--cache", str(project / "cache"), "site", *map(str, argv)]
    done = subprocess.run(line, cwd=project, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, " ".join(done.stderr.split())


def test_all_sites_of_a_checkout_are_checked(project: Path) -> None:
    (project / "sites").mkdir()
    (project / "sites/good.toml").write_text(BASE)
    (project / "sites/bare.toml").write_text(NODES.replace("demo", "bare"))
    code, _, told = run(project, "check", "--quick")
    assert code == 14
    assert "bare.toml: fencing is missing" in told
    code, out, _ = run(project, "check", "--quick", "good", "--json")
    assert (code, json.loads(out)["checks"][0]["ok"]) == (0, True)
    (project / "sites/bare.toml").write_text(BASE.replace("demo", "second"))
    code, out, _ = run(project, "check", "--quick", "--json")
    assert [Path(part["file"]).name for part in json.loads(out)] == ["bare.toml", "good.toml"]
    code, _, told = run(project, "show")
    assert (code, "there are 2 site files" in told) == (2, True)


def test_files_go_nowhere_where_nobody_may_write(project: Path) -> None:
    (project / "site.toml").write_text(BASE)
    (project / "plain").write_text("")
    code, _, told = run(project, "show", "--to", project / "plain/below")
    assert code == 9
    assert "cannot be written" in told
    assert "choose a folder of your own" in told


def test_a_running_cluster_becomes_a_file(project: Path) -> None:
    (project / "corosync.conf").write_text(CONF)
    (project / "cluster.crm").write_text(CRM)
    files = ("--corosync", "corosync.conf", "--crm", "cluster.crm")
    code, _, told = run(project, "import", *files, "--to", "site.toml")
    assert code == 0
    assert "st1: passwd is a secret" in told
    assert "totem: heartbeat_failures_allowed: 3 went" in told
    assert "hunter2" not in (project / "site.toml").read_text()
    assert run(project, "check", "--quick")[0] == 0
    before = (project / "site.toml").read_bytes()
    code, _, told = run(project, "import", *files, "--to", "site.toml")
    assert (code, "site.toml exists" in told) == (2, True)
    assert (project / "site.toml").read_bytes() == before


def test_a_report_becomes_a_file_and_single_files_take_the_place_of_its_parts(project: Path) -> None:
    show = CRM.replace("maintenance-mode=true", "maintenance-mode=false")
    pack(project / "report.tar.bz2", {"r/n1/corosync.conf": CONF, "r/n1/configure_show.txt": show, **REPORTED})
    assert run(project, "import", "--report", "report.tar.bz2", "--to", "site.toml")[0] == 0
    table = tomllib.loads((project / "site.toml").read_text())
    assert table["crm"]["properties"]["maintenance-mode"] is False
    assert [resource["name"] for resource in table["drbd"]] == ["r0"]
    (project / "cluster.crm").write_text(CRM)
    files = ("--report", "report.tar.bz2", "--crm", "cluster.crm")
    code, _, told = run(project, "import", *files, "--to", "sites/other.toml")
    assert (code, "n2 has another corosync.conf than n1" in told) == (0, True)
    assert tomllib.loads((project / "sites/other.toml").read_text())["crm"]["properties"]["maintenance-mode"] is True


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "--report or --corosync is needed"),
        (("--report", "x", "--corosync", "y"), 2, "--report or --corosync is needed"),
        (("--corosync", "y", "--crm", "a", "--cib", "b"), 2, "--crm and --cib say the same"),
        (("--report", "missing.tar"), 14, "missing.tar cannot be read as a report: "),
    ],
)
def test_sources_that_do_not_fit_together_are_refused(
    project: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    found, _, told = run(project, "import", *options)
    assert (found, words in " ".join(told.split())) == (code, True)


def test_what_breaks_a_rule_after_an_import_is_told_with_the_text(project: Path) -> None:
    (project / "corosync.conf").write_text(CONF.replace("192.0.2.12", "127.0.0.1"))
    code, _, told = run(project, "import", "--corosync", "corosync.conf", "--to", "site.toml")
    assert (code, "127.0.0.1 is the machine's own" in " ".join(told.split())) == (14, True)
    assert "what was imported breaks a rule of site files" in " ".join(told.split())
    assert 'name = "n2"' in told
    assert not (project / "site.toml").exists()


@pytest.mark.parametrize(
    ("conf", "words"),
    [(None, "cannot be read: No such file"), (b"\xff", "is not UTF-8 text"), (b"totem {\n", "ends inside a section")],
)
def test_what_cannot_be_imported_is_one_error_and_no_file(project: Path, conf: bytes | None, words: str) -> None:
    if conf is not None:
        (project / "corosync.conf").write_bytes(conf)
    code, _, told = run(project, "import", "--corosync", "corosync.conf", "--to", "site.toml")
    assert (code, words in told) == (14, True)
    assert not (project / "site.toml").exists()
