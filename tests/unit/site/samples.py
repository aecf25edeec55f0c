"""The base that small cases are appended to: two nodes, as people write them."""

from __future__ import annotations

from pathlib import Path

from hapkg.site.files import render_site
from hapkg.site.model import Site, read_site
from tests.support.samples import SETTINGS, TEMPLATES

ETC = "/opt/ha/etc"
NODES = """
[cluster]
name = "demo"
[[nodes]]
name = "n1"
id = 1
addresses = ["192.0.2.11"]
[[nodes]]
name = "n2"
id = 2
addresses = ["192.0.2.12"]
"""
FENCING = """
[[fencing.devices]]
name = "f1"
agent = "fence_ipmilan"
nodes = ["n1"]
delay = 10
parameters = { ip = "192.0.2.51" }
[[fencing.devices]]
name = "f2"
agent = "fence_ipmilan"
nodes = ["n2"]
parameters = { ip = "192.0.2.52" }
"""
BASE = NODES + FENCING


def read_text(folder: Path, text: str) -> Site:
    """The site that a text describes."""
    file = folder / "site.toml"
    file.write_text(text, "utf-8")
    return read_site(file)


def render_text(folder: Path, text: str) -> dict[str, str]:
    """The files of the site that a text describes, by path below /opt/ha/etc; others by their whole path."""
    files = render_site(read_text(folder, text), SETTINGS, (TEMPLATES,))
    return {path.removeprefix(f"{ETC}/"): content.decode() for path, content in files.items()}
