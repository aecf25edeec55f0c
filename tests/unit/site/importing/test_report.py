"""Reports of crm: archives from elsewhere, of which a few texts are taken and nothing is unpacked."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from hapkg.errors import SiteError
from hapkg.site.importing import report
from hapkg.site.importing.report import LARGEST, read_report

FILES = {
    "report/n1/corosync.conf": "totem { of n1 }",
    "report/n1/configure_show.txt": "primitive a Dummy",
    "report/n1/cib.xml": "<cib/>",
    "report/n1/drbd.d/r0.res": "resource r0 { }",
    "report/n1/drbd.conf": "include",
    "report/n2/corosync.conf": "totem { of n2 }",
    "report/analysis.txt": "fine",
    "report/n1/journal.log": "much",
}


def pack(file: Path, files: dict[str, str], mode: str = "w:bz2") -> Path:
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return file


@pytest.mark.parametrize("mode", ["w:bz2", "w:gz", "w:xz", "w"])
def test_a_report_has_what_a_site_file_needs(tmp_path: Path, mode: str) -> None:
    sources, cib = read_report(pack(tmp_path / "report.tar", FILES, mode))
    assert (sources.corosync, sources.crm, cib) == ("totem { of n1 }", "primitive a Dummy", None)
    assert sources.drbd == {"drbd.d/r0.res": "resource r0 { }", "drbd.conf": "include"}
    assert "n2 has another corosync.conf than n1" in sources.notes
    without = {name: text for name, text in FILES.items() if "configure_show" not in name}
    assert read_report(pack(tmp_path / "report.tar", without, mode))[1] == "<cib/>"
    bare = {name: text for name, text in without.items() if "cib" not in name}
    sources, cib = read_report(pack(tmp_path / "report.tar", bare, mode))
    assert (sources.crm, cib, sources.notes[-1]) == ("", None, "the report has nothing of what pacemaker runs")


def test_what_is_no_regular_file_of_a_node_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of this machine")
    file = tmp_path / "report.tar.bz2"
    with tarfile.open(file, "w:bz2") as archive:
        for name, kind in (
            ("report/n1/corosync.conf", tarfile.SYMTYPE),
            ("report/n2/corosync.conf", tarfile.LNKTYPE),
            ("report/n3/corosync.conf", tarfile.FIFOTYPE),
            ("../n4/corosync.conf", tarfile.REGTYPE),
            ("/report/n5/corosync.conf", tarfile.REGTYPE),
            ("report/n6/drbd.d/../../../x.res", tarfile.REGTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(secret)
            archive.addfile(member, io.BytesIO(b""))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SiteError, match=r"has no corosync\.conf of a node"):
        read_report(file)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "content", [b"", b"x" * 5000, b"BZh9" + b"x" * 100, b"\x1f\x8b" + b"\0" * 60, b"\xfd7zXZ\0abc"]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "report.tar.bz2"
    file.write_bytes(content)
    with pytest.raises(SiteError, match=r"report.tar.bz2 (cannot be read as a report|has no corosync\.conf)"):
        read_report(file)
    whole = pack(tmp_path / "whole", FILES).read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SiteError, match=r"report.tar.bz2 (cannot be read as a report|has no corosync\.conf)"):
        read_report(file)


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = {"report/n1/corosync.conf": "x" * (LARGEST + 1)}
    with pytest.raises(SiteError, match=f"n1/corosync.conf has {LARGEST + 1} bytes"):
        read_report(pack(tmp_path / "huge", huge, "w:gz"))
    monkeypatch.setattr(report, "_MOST_BYTES", 2**20)
    padded = {**FILES, "report/n1/journal.log": "x" * 2**21}
    with pytest.raises(SiteError, match="the report is larger than"):
        read_report(pack(tmp_path / "bomb", padded))
    monkeypatch.setattr(report, "_MOST_MEMBERS", 3)
    with pytest.raises(SiteError, match="more than 3 members"):
        read_report(pack(tmp_path / "many", FILES))
