"""Settings of apt: the host's that are carried on, and those of roots as apt reads them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from hapkg.apt import settings
from hapkg.programs import process


def test_options_that_decide_how_the_archive_is_reached_are_carried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried = {
        "Acquire::Check-Valid-Until": "false",
        "Acquire::http::Proxy": "http://proxy.example.org:3128",
        "Acquire::http::Proxy::deb.example.org": "DIRECT",
        "Acquire::http::Proxy-Auto-Detect": "/usr/bin/find-proxy",
        "Acquire::https::ProxyAutoDetect": "/usr/bin/find-proxy",
        "Acquire::http::Pipeline-Depth": "0",
        "Acquire::https::deb.example.org::CAInfo": "/etc/ssl/own.pem",
        "Acquire::https::Verify-Peer": "true",
    }
    others = {"Acquire::Retries": "3", "Acquire::https::Proxy": "", "Dir::Etc::Main": "/dev/null"}
    lines = [f'{name} "{value}";\n' for name, value in {**carried, **others, "Dir::Etc::Parts": "/dev/null"}.items()]
    (tmp_path / "apt.conf").write_text("".join(lines))
    told = partial(process.run, environment={"APT_CONFIG": str(tmp_path / "apt.conf")})
    monkeypatch.setattr(process, "run", told)
    monkeypatch.setattr(settings, "_PASSWORDS", {"Dir::Etc::netrc": tmp_path / "auth.conf"})
    assert settings.read_apt_options() == carried
    (tmp_path / "auth.conf").write_text("machine deb.example.org login a password b\n")
    assert settings.read_apt_options() == {**carried, "Dir::Etc::netrc": str(tmp_path / "auth.conf")}


@pytest.mark.parametrize("form", ["file", "options"])
def test_apt_reads_settings_as_they_are_written(tmp_path: Path, form: str) -> None:
    """Values with blanks and an empty one as well; of languages apt makes a list."""
    wanted = {**settings.BASE, "Acquire::http::User-Agent": "a b; c", "Dir::Cache::pkgcache": ""}
    file = settings.write_settings(tmp_path / "apt.conf", wanted)
    options = [f"--config-file={file}"] if form == "file" else settings.make_options(wanted)
    told = process.run(["apt-config", *options, "dump"]).output.replace("Languages:: ", "Languages ")
    assert {f'{name} "{value}";' for name, value in wanted.items()} <= set(told.splitlines())
