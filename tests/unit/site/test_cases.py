"""Cases of people's public reports that concern a site file, by their numbers, each with the right outcome."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.errors import SiteError
from tests.unit.site.samples import FENCING, NODES, read_text, render_text

CRM, RES, CONF = "ha-stack/cluster.crm", "drbd.d/r0.res", "corosync/corosync.conf"
R0 = '[[drbd]]\nname = "r0"\n{}\nvolumes = [{{ number = 0, minor = 0, disk = {} }}]\n'
PLAIN = '"/dev/vg0/r0"'


def device(agent: str, parameters: str, more: str = "") -> str:
    """A device for both nodes, as the cases have it."""
    return (
        f'[[fencing.devices]]\nname = "f"\nagent = "{agent}"\nnodes = ["n1", "n2"]\n{more}\n'
        f"parameters = {{ {parameters} }}\n"
    )


def snmp(hosts: str) -> str:
    return device("fence_apc_snmp", f'ip = "192.0.2.50", pcmk_host_map = "{hosts}", pcmk_delay_base = "n1:0s;n2:10s"')


OLD = (
    "primitive p_db ocf:heartbeat:Stateful op monitor interval=20 role=Master op monitor interval=30 role=Slave",
    "ms ms_db p_db meta master-max=1 notify=true",
    "primitive p_ip IPaddr2 params ip=192.0.2.100 cidr_netmask=24",
    "colocation c_ip inf: p_ip ms_db:Master",
    "order o_ip inf: ms_db:promote p_ip:start",
)


def extra(*lines: str) -> str:
    text = "\n".join(lines)
    return f"{FENCING}[crm]\nextra = '''\n{text}\n'''\n"


TWO_LINKS = NODES.replace('"192.0.2.11"', '"192.0.2.11", "198.51.100.11"').replace(
    '"192.0.2.12"', '"192.0.2.12", "198.51.100.12"'
)
THIRD = '[[nodes]]\nname = "n3"\nid = 3\naddresses = ["192.0.2.13"]\n'
GFS2 = '[[gfs2]]\nname = "g"\ndevice = "/dev/vg0/g"\nmount = "/srv/g"\n'
ALL = device("external/ssh", 'hostlist = "n1 n2"')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(snmp("n1:3,n2:7"), "pairs are parted by ; or a blank", id="1-comma"),
        *(
            pytest.param(device(agent, f'ip = "192.0.2.50", {name} = "x"'), f"{name} is a secret", id=f"3-{name}")
            for agent, name in (
                ("fence_aws", "secret_key"),
                ("fence_ibm_vpc", "apikey"),
                ("fence_apc_snmp", "community"),
                ("external/rackpdu", "community"),
                ("fence_aws", "api_key"),
                ("fence_aws", "apitoken"),
                ("fence_aws", "private_key"),
                ("fence_aws", "Password"),
                ("fence_aws", "pass"),
                ("fence_aws", "snmp_auth_pass"),
            )
        ),
        pytest.param(
            FENCING + R0.format('net = { cram-hmac-alg = "sha256", shared-secret = "only-for-this-test" }', PLAIN),
            "shared-secret is a secret",
            id="4",
        ),
        pytest.param(
            FENCING + R0.format('module = "9"\nsnapshots = true', '"/dev/sdb1"'), "is no logical volume", id="17"
        ),
        pytest.param(
            FENCING + R0.format('net = { protocol = "A" }', PLAIN), "protocol would stand there twice", id="18"
        ),
        *(
            pytest.param(extra(line), words, id=f"41-{number}")
            for number, (line, words) in enumerate(
                [
                    (OLD[0], "write role=Promoted"),
                    (OLD[1], "write clone NAME RESOURCE meta promotable=true"),
                    (OLD[3], "write :Promoted"),
                    ("property default-resource-stickiness=100", "put them under [crm] properties"),
                ]
            )
        ),
        pytest.param(
            FENCING + R0.format("", PLAIN).replace('"r0"', '"all"'), "means something to drbdadm", id="47-all"
        ),
        pytest.param(device("fence_apc", 'pcmk_host_list = "n1"'), "pcmk_host_list: it follows", id="47-list"),
        pytest.param(ALL.replace('"f"', '"dlm"') + GFS2, "as the lock manager is: choose another name", id="47-dlm"),
        pytest.param(THIRD + ALL + R0.format("", PLAIN), "joins 3 nodes: name two in nodes", id="48"),
    ],
)
def test_what_would_do_harm_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        read_text(tmp_path, NODES + text)
    assert words in " ".join((caught.value.brief, *caught.value.details, caught.value.hint))
    assert "function-" not in caught.value.brief


@pytest.mark.parametrize(
    ("text", "file", "words"),
    [
        pytest.param(snmp("n1:3;n2:7"), CRM, 'pcmk_host_map="n1:3;n2:7"', id="1-semicolon"),
        pytest.param(snmp("n1:3 n2:7"), CRM, 'pcmk_host_map="n1:3 n2:7"', id="1-blank"),
        pytest.param(snmp("n1:3,4;n2:7,8"), CRM, 'pcmk_delay_base="n1:0s;n2:10s"', id="2"),
        pytest.param(
            extra(
                "node 1: n1 attributes rack=a utilization cpu=8", 'alert mail "/usr/local/sbin/tell" to a@example.org'
            ),
            CRM,
            'alert mail "/usr/local/sbin/tell" to a@example.org',
            id="9",
        ),
        pytest.param(
            FENCING + R0.format('disk = { on-io-error = "detach" }', PLAIN), RES, "on-io-error detach;", id="18"
        ),
        pytest.param(
            device("external/vcenter", 'VI_SERVER = "192.0.2.60", HOSTLIST = "n1=vm-1;n2=vm-2"'),
            CRM,
            'HOSTLIST="n1=vm-1;n2=vm-2"',
            id="30-vcenter",
        ),
        pytest.param(ALL, CRM, 'hostlist="n1 n2"', id="30-ssh"),
        pytest.param(
            device("fence_vmware_rest", "username = 'CORP\\svc'", 'plugs = { n1 = "App Server 1", n2 = "vm-2" }'),
            CRM,
            r'username="CORP\\svc"',
            id="30-domain",
        ),
        pytest.param(
            '[quorum.device]\nhost = "192.0.2.90"\nalgorithm = "ffsplit"\n' + FENCING, CONF, "host: 192.0.2.90", id="32"
        ),
        pytest.param(device("meatware", 'hostlist = "n1 n2"'), CRM, "stonith:meatware", id="40-meatware"),
        pytest.param(device("apcmastersnmp", 'ipaddr = "192.0.2.5"'), CRM, "stonith:apcmastersnmp", id="40-apc"),
        pytest.param(device("fence_scsi", 'devices = "/dev/disk/by-id/wwn-0x5"'), CRM, "provides=unfencing", id="42"),
        pytest.param(
            FENCING + R0.format("", '{ n1 = "/dev/sdb1", n2 = "/dev/vdb1" }'), RES, "disk      /dev/vdb1;", id="45"
        ),
        pytest.param(
            THIRD + ALL.replace('"n2"]', '"n2", "n3"]') + R0.format('module = "9"', PLAIN),
            RES,
            "hosts n1 n2 n3;",
            id="48",
        ),
    ],
)
def test_what_is_right_is_written_as_the_programs_read_it(tmp_path: Path, text: str, file: str, words: str) -> None:
    assert words in render_text(tmp_path, NODES + text)[file]


def test_case_8_a_lock_manager_on_two_links_speaks_sctp(tmp_path: Path) -> None:
    files = render_text(tmp_path, TWO_LINKS + FENCING + GFS2)
    assert "protocol=sctp" in files["dlm/dlm.conf"].splitlines()
    facts = json.loads(files["ha-stack/site.json"])
    assert "sctp" in facts["modules"]
    assert (facts["sctp_ports"], 21064 in facts["tcp_ports"]) == ([21064], False)


def test_case_17_several_volumes_of_module_9_are_told(tmp_path: Path) -> None:
    volumes = '{ number = 0, minor = 0, disk = "/dev/vg0/a" }, { number = 1, minor = 1, disk = "/dev/vg0/b" }'
    text = f'[[drbd]]\nname = "r0"\nmodule = "9"\nsnapshots = true\nvolumes = [{volumes}]\n'
    (warning,) = read_text(tmp_path, NODES + FENCING + text).warnings
    assert "snapshots are better with a resource for each volume" in warning


def test_case_31_two_nodes_that_shoot_each_other_are_told(tmp_path: Path) -> None:
    (warning,) = read_text(tmp_path, NODES + FENCING.replace("delay = 10\n", "")).warnings
    assert "may switch each other off at once" in warning


def test_case_32_options_of_totem_have_keys_and_two_node_goes_with_a_device(tmp_path: Path) -> None:
    nodes = NODES.replace('name = "demo"', 'name = "demo"\nconsensus = 7200\njoin = 160')
    conf = render_text(tmp_path, nodes + FENCING)[CONF]
    assert "consensus: 7200" in conf
    assert "join: 160" in conf
    assert "two_node: 1" in conf
    assert "two_node" not in render_text(tmp_path, NODES + FENCING + '[quorum.device]\nhost = "192.0.2.90"\n')[CONF]
