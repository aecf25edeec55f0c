"""Kinds of values: what programs read as it stands in the site file, and what is refused in words."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from hapkg.errors import SiteError
from hapkg.site.words import quote_crm, write_crm, write_drbd
from tests.unit.site.samples import BASE, NODES, read_text, render_text

ONE = (
    '[[fencing.devices]]\nname = "vm"\nagent = "{agent}"\nnodes = ["n1"]\ndelay = 5\nparameters = {{ {parameters} }}\n'
)
OTHER = '[[fencing.devices]]\nname = "vm2"\nagent = "fence_vmware_rest"\nnodes = ["n2"]\n'
BOTH = ONE.replace('"n1"', '"n1", "n2"').replace("delay = 5", "delays = {{ n1 = 5 }}")


@pytest.mark.parametrize(
    "value",
    ["a b", r"CORP\svc", "a;b", "n1:1;n2:2", 'say "x"', "#1", "$HOME", "`x`", "{a}", "it's", "a=b", "-x", r"x\ y"],
)
def test_crm_reads_a_value_as_it_stands(value: str) -> None:
    assert shlex.split(f"params a={quote_crm(value)} b={write_crm(value)}") == ["params", f"a={value}", f"b={value}"]


def test_values_of_machines_with_odd_names(tmp_path: Path) -> None:
    parameters = r"ip = '192.0.2.60', username = 'CORP\svc', plug = 'App Server 1'"
    text = NODES + ONE.format(agent="fence_vmware_rest", parameters=parameters) + OTHER
    assert r'plug="App Server 1" username="CORP\\svc"' in render_text(tmp_path, text)["ha-stack/cluster.crm"]
    hosts = BOTH.format(agent="external/vcenter", parameters='HOSTLIST = "n1=vm-1;n2=vm-2"')
    assert 'HOSTLIST="n1=vm-1;n2=vm-2"' in render_text(tmp_path, NODES + hosts)["ha-stack/cluster.crm"]
    ssh = BOTH.format(agent="external/ssh", parameters='hostlist = "n1 n2"')
    assert 'hostlist="n1 n2"' in render_text(tmp_path, NODES + ssh)["ha-stack/cluster.crm"]
    snmp = BOTH.format(agent="apcmastersnmp", parameters='ipaddr = "192.0.2.9", port = 161')
    assert 'port="161"' in render_text(tmp_path, NODES + snmp)["ha-stack/cluster.crm"]


@pytest.mark.parametrize(
    ("value", "text"),
    [("100M", "100M"), (True, "yes"), ("a b", '"a b"'), ('a"b\\', r'"a\"b\\"'), ("ü", '"ü"'), (3, "3")],
)
def test_drbdadm_reads_a_value_as_it_stands(value: object, text: str) -> None:
    assert write_drbd(value) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NODES + ONE.format(agent="fence_vmware_rest", parameters='plug = "Büro-1"') + OTHER, "would load ü as &#252;"),
        (BASE.replace('"n2"', '"localhost"'), "as uname -n tells it, and not localhost"),
        (BASE.replace('"n2"', '"n_2"'), "must be a host name, as uname -n tells it, and not localhost"),
        (BASE.replace('"demo"', '"two words"'), "must be letters, digits, _ -"),
        (BASE.replace('"demo"', f'"{"x" * 33}"'), "has 33 characters, 32 are the most"),
        (BASE + '[[gfs2]]\nname = "g"\ndevice = "/dev/a b"\nmount = "/srv/g"\n', "must be an absolute path of letters"),
        (
            BASE.replace('"f1"', '"dlm"') + '[[gfs2]]\nname = "g"\ndevice = "/dev/a"\nmount = "/srv/g"\n',
            "called dlm in",
        ),
    ],
)
def test_what_no_program_would_read_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        read_text(tmp_path, text)
    told = "\n".join((caught.value.brief, *caught.value.details))
    assert words in told
    assert "function-" not in told
    assert "pattern" not in told
