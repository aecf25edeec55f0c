"""A node's place in the network: its name, its addresses, what names resolve to, and who uses its ports."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from collections.abc import Iterator

from hastack.distribution import Distribution
from hastack.finding import FAIL, OK, WARN, Finding
from hastack.site import CONFIGURATION, Site
from hastack.system import DAEMONS, find_pids, run


def check_membership(site: Site, distribution: Distribution) -> Iterator[Finding]:
    name, own = os.uname().nodename, site.find_own()
    if own is None:
        known = ", ".join(node.name for node in site.nodes)
        yield Finding(
            "name",
            FAIL,
            f"{name} is no node of {site.cluster}: {known}",
            advice="hostnamectl hostname NODE; a new node is named in the site file"
            if site.packaged
            else f"hostnamectl hostname NODE, or name it in {CONFIGURATION}",
        )
        return
    yield Finding("name", OK, f"{name} is node {own.id} of {site.cluster}")
    told = run("ip", "-json", "address", "show").output
    have, interfaces = parse_addresses(told), parse_interfaces(told)
    for address in own.addresses:
        yield judge_address(address, have, interfaces, distribution)
    for node in site.nodes:
        yield _check_resolution(node.name, node.addresses)


def judge_address(
    address: str, have: frozenset[str], interfaces: tuple[str, ...], distribution: Distribution
) -> Finding:
    """An address, or a name of one, that corosync.conf gives this node, by those that its interfaces have."""
    try:
        meant = {str(ipaddress.ip_address(address))}
    except ValueError:
        try:
            meant = {str(entry[4][0]) for entry in socket.getaddrinfo(address, None)}
        except OSError:
            text = f"{address} is a name that does not resolve"
            return Finding("address", FAIL, text, advice=f"add to /etc/hosts: ADDRESS {address}")
    if found := meant & have:
        named = "" if address in found else f", which is {', '.join(sorted(found))},"
        return Finding("address", OK, f"{address}{named} is this node's")
    first = sorted(meant)[0]
    length = 64 if ":" in first else 24
    interface = choose_interface(interfaces)
    remedy = f"ip address add {first}/{length} dev {interface}" if interface else ""
    return Finding("address", FAIL, f"no interface has {address}", remedy, distribution.advise_address())


def is_address(text: str) -> bool:
    """True for an IP address, which corosync.conf may have a name in place of."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def parse_addresses(text: str) -> frozenset[str]:
    """Addresses in what `ip -json address` prints."""
    try:
        return frozenset(info["local"] for link in json.loads(text) for info in link["addr_info"] if "local" in info)
    except (ValueError, KeyError, TypeError):
        return frozenset()


def parse_interfaces(text: str) -> tuple[str, ...]:
    """Interfaces, but for the loopback one, in what `ip -json address` prints."""
    try:
        return tuple(link["ifname"] for link in json.loads(text) if "LOOPBACK" not in link["flags"])
    except (ValueError, KeyError, TypeError):
        return ()


def choose_interface(interfaces: tuple[str, ...]) -> str:
    """The one interface there is; with more of them only a person knows which one is meant."""
    return interfaces[0] if len(interfaces) == 1 else ""


def _check_resolution(name: str, addresses: tuple[str, ...]) -> Finding:
    line = f"echo '{addresses[0]} {name}' >> /etc/hosts" if addresses and is_address(addresses[0]) else ""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}
    except OSError:
        return Finding("resolution", WARN, f"{name} does not resolve", line)
    if found & set(addresses):
        return Finding("resolution", OK, f"{name} is {', '.join(sorted(found & set(addresses)))}")
    return Finding(
        "resolution",
        WARN,
        f"{name} resolves to {', '.join(sorted(found))}, not to its ring",
        advice="correct it in /etc/hosts, or where else names are from",
    )


def check_ports(site: Site) -> Iterator[Finding]:
    own = {str(pid) for daemon in DAEMONS for pid in find_pids(daemon)}
    for kind, ports in (("udp", site.udp_ports), ("tcp", site.tcp_ports)):
        users = parse_sockets(run("ss", "-H", "-l", "-n", "-p", f"--{kind}").output)
        for port in ports:
            strangers = sorted(name for name, pid in users.get(port, ()) if pid not in own)
            if strangers:
                yield Finding(
                    "port",
                    FAIL,
                    f"{kind} {port} is used by {', '.join(strangers)}",
                    advice=f"move {strangers[0]} to another port",
                )
            else:
                yield Finding("port", OK, f"{kind} {port} is free for the cluster")


def parse_sockets(text: str) -> dict[int, list[tuple[str, str]]]:
    """Who listens on each port, by what `ss -Hlnp` prints: names and pids. Sockets of the kernel have none."""
    found: dict[int, list[tuple[str, str]]] = {}
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) >= 4 and (port := fields[3].rpartition(":")[2]).isdigit():
            found.setdefault(int(port), []).extend(re.findall(r'\("([^"]+)",pid=(\d+)', line))
    return found
