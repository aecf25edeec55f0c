"""Lines for crm that a site brings: what stands in them, and what is known to be of other times."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.errors import SiteError
from hapkg.site.extra import read_commands
from tests.unit.site.samples import BASE, read_text

OLD = r"""
primitive p_db ocf:heartbeat:Stateful op monitor interval=20 role=Master op monitor interval=30 role=Slave
ms ms_db p_db meta master-max=1 notify=true
primitive p_ip IPaddr2 params ip=192.0.2.100 cidr_netmask=24
colocation c_ip inf: p_ip ms_db:Master
order o_ip inf: ms_db:promote p_ip:start
"""


def extra(lines: str) -> str:
    return BASE + f"[crm]\nextra = '''\n{lines}'''\n"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (OLD, "line 27 (primitive p_db ocf:heartbeat:Stateful op monitor interval..."),
        (OLD, "write role=Promoted"),
        ("primitive a Dummy\nms ms_a a\n", "line 27 (ms ms_a a): ms is gone from crm; write clone NAME"),
        ("clone c a meta master-max=1\n", "write promoted-max="),
        ("colocation c inf: ip db:Master\n", "write :Promoted"),
        ("location l db $role=Master 100: n1\n", "write role=Promoted"),
        ("colocation c inf: _rsc_set_ a b\n", "_rsc_set_ is gone from crm"),
        ("property default-resource-stickiness=100 no-quorum-policy=ignore\n", "put them under [crm] properties"),
        ("primitive a \\\n  Dummy\nproperty x=1\n", "line 28 (property x=1)"),
        ("primitive a Dummy params state='x\n", "line 26 (primitive a Dummy params state='x): quotes without an end"),
        ("primitive a Dummy params state=Büro\n", "crm would load ü as &#252;"),
        ("rsc_defaults stonith-enabled=false\n", "stonith-enabled follows from [fencing]"),
        ("primitive f1 Dummy\n", "primitive f1 of extra would be called f1 in pacemaker, as fencing device f1 is"),
        ("primitive a Dummy\ngroup a b\n", "group a of extra would be called a"),
    ],
)
def test_what_crm_would_refuse_or_do_otherwise_is_told_with_its_line(tmp_path: Path, lines: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        read_text(tmp_path, extra(lines.lstrip("\n") if lines != OLD else lines))
    assert words in caught.value.brief
    assert "crm.extra" in caught.value.brief or "of extra" in caught.value.brief


def test_comments_and_names_of_today_pass(tmp_path: Path) -> None:
    lines = "# Büro, role=Master\nprimitive master Dummy\nclone c master meta promotable=true\n"
    lines += "location l c role=Promoted 5: n1\n"
    assert [command.name for command in read_text(tmp_path, extra(lines)).commands] == ["master", "c", "l"]


def test_commands_are_put_together_as_crm_does() -> None:
    text = 'primitive st \\\n  stonith:fence_x \\\n params ip="a b"\n\n# no\nprimitive ip IPaddr2\nrsc_defaults a=1\n'
    first, second, third = read_commands(text)
    assert (first.line, first.name, first.agent, first.fences) == (1, "st", "stonith:fence_x", True)
    assert first.words[-1] == "ip=a b"
    assert (second.line, second.agent, second.fences) == (6, "ocf:heartbeat:IPaddr2", False)
    assert (third.name, third.agent) == ("", "")
