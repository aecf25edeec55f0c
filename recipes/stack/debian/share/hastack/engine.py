"""corosync on this node: its verdict on its configuration, its links, its quorum."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hastack.finding import FAIL, OK, WARN, Finding
from hastack.site import CONFIGURATION, Site, read_entries
from hastack.system import find_pids, run

_NODE_KEYS = re.compile(r"name|nodeid|quorum_votes|ring\d_addr")


@dataclass(frozen=True)
class Link:
    """A path to another node."""

    number: int
    node: int
    """nodeid of the other end."""
    connected: bool


def judge_configuration() -> Iterator[Finding]:
    """corosync's own verdict on corosync.conf, then what corosync accepts and nobody means."""
    edit = f"mend it in {CONFIGURATION}, on every node"
    try:
        text = CONFIGURATION.read_text("utf-8", "replace")
    except OSError as cause:
        yield Finding("configuration", FAIL, f"{CONFIGURATION} cannot be read: {cause.strerror}")
        return
    tested = run("corosync", "-t", "-c", str(CONFIGURATION))
    if tested.status:
        yield Finding("configuration", FAIL, f"corosync refuses it: {read_refusal(tested.output)}", advice=edit)
    for line in find_oversights(text):
        yield Finding("configuration", FAIL, line, advice=edit)


def read_refusal(said: str) -> str:
    """The reason in what corosync -t prints, without time and level."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and "exiting with status" not in line]
    return re.sub(r"^.*?\] |^parser error: ", "", lines[-1]) if lines else "without a word"


def find_oversights(text: str) -> tuple[str, ...]:
    """Lines of corosync.conf that corosync takes and that do not say what they seem to."""
    blank = "a no-break space, which corosync takes for a part of the word"
    found = [f"line {n}: {blank}" for n, line in enumerate(text.splitlines(), 1) if "\N{NO-BREAK SPACE}" in line]
    entries = tuple(read_entries(text))
    seen: dict[str, int] = {}
    for entry in entries:
        line = f"line {entry.line}"
        if re.search(r"\s#", entry.value):
            found.append(f"{line}: what follows # is part of the value: comments have lines of their own")
        if entry.section != "nodelist.node":
            continue
        if not _NODE_KEYS.fullmatch(entry.key):
            found.append(f"{line}: corosync knows no {entry.key} of a node{_suggest(entry.key)}")
        word = f"{entry.key} {entry.value}"
        first = seen.setdefault(word, entry.line) if entry.key in ("name", "nodeid") else entry.line
        if first != entry.line:
            found.append(f"{line}: {word} stands in line {first}, too")
    if not any((entry.section, entry.key) == ("quorum", "provider") for entry in entries):
        found.append("section quorum names no provider, so no node ever has quorum: provider: corosync_votequorum")
    if not any(entry.section == "nodelist.node" for entry in entries):
        found.append("there is no nodelist; nodes that find each other by multicast cannot be checked")
    return tuple(found)


def _suggest(key: str) -> str:
    if key in ("id", "node_id"):
        return ": nodeid"
    return ": ring0_addr" if key.startswith("ring") else ""


def parse_links(text: str) -> tuple[Link, ...]:
    """Links to the other nodes in what corosync-cfgtool -s prints, for knet and for udpu."""
    found: list[Link] = []
    number = 0
    for line in text.splitlines():
        if head := re.match(r"LINK ID (\d+)", line):
            number = int(head[1])
        elif (node := re.match(r"\s+nodeid:\s*(\d+):\s*(\S+)", line)) and node[2] != "localhost":
            found.append(Link(number, int(node[1]), node[2] == "connected"))
    return tuple(found)


def answers() -> bool:
    """Tell whether corosync, which runs, serves anybody."""
    return run("corosync-cmapctl", "-g", "totem.version", timeout=10).status == 0


def judge_silence() -> Finding:
    """A corosync that hangs. Pacemaker would wait for it when it is stopped, so it is killed first."""
    remedy = "kill -9 $(pidof corosync); service corosync start && service pacemaker restart"
    return Finding("engine", FAIL, "corosync runs and does not answer: nothing is watched, started or fenced", remedy)


def check_links(site: Site) -> Iterator[Finding]:
    """Each link of each ring: a second ring is there for the first one's death to be told, not only survived."""
    told = run("corosync-cfgtool", "-s", timeout=20)
    names = {node.id: node for node in site.nodes}
    links = parse_links(told.output)
    for id_ in sorted({link.node for link in links}):
        node = names.get(id_)
        name = node.name if node else f"node {id_}"
        down = [link.number for link in links if link.node == id_ and not link.connected]
        up = [link.number for link in links if link.node == id_ and link.connected]
        if not down:
            yield Finding("link", OK, f"{len(up)} to {name} connected" if len(up) > 1 else f"to {name} connected")
        elif up:
            remedy = f"ping {node.addresses[down[0]]}" if node and down[0] < len(node.addresses) else ""
            yield Finding("link", WARN, f"link {', '.join(map(str, down))} to {name} is down", advice=remedy)
        else:
            yield _explain_silence(name, node.addresses if node else ())


def answers_ping(addresses: tuple[str, ...]) -> bool:
    """Tell whether a machine is there, whatever runs on it."""
    return any(run("ping", "-c", "1", "-W", "1", address).status == 0 for address in addresses)


def _explain_silence(name: str, addresses: tuple[str, ...]) -> Finding:
    """Why no link reaches a node."""
    if answers_ping(addresses):
        text = f"no link to {name}, which answers ping: corosync is stopped there, or has another key or configuration"
        return Finding("link", FAIL, text, advice=f"ha-stack check on {name}; authkey must have the same fingerprint")
    return Finding(
        "link", WARN, f"no link to {name}, which does not answer ping either", advice=f"start {name}, or its network"
    )


def read_quorum(text: str) -> bool | None:
    """Quorum in what corosync-quorumtool -s prints; None when it does not tell."""
    found = re.search(r"^Quorate:\s+(Yes|No)", text, re.MULTILINE)
    return found[1] == "Yes" if found else None


def ask_quorum() -> bool | None:
    """Quorum of corosync itself, which knows it before pacemaker does; None when it does not tell."""
    return read_quorum(run("corosync-quorumtool", "-s", timeout=20).output)


def check_quorum() -> Finding:
    """Quorum, by corosync."""
    quorate = ask_quorum()
    if quorate is None:
        return Finding(
            "quorum", FAIL, "corosync does not tell", advice=f"name a provider in section quorum of {CONFIGURATION}"
        )
    if quorate:
        return Finding("quorum", OK, "quorate")
    return Finding(
        "quorum", FAIL, "none: too few nodes see each other", advice="start the other nodes, or mend their links"
    )


def is_alone() -> bool:
    """Pacemaker without the engine that it needs."""
    return bool(find_pids("pacemakerd")) and not find_pids("corosync")
