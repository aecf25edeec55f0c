"""Machines under systemd that are switched on and off, for one cluster after the other."""

from __future__ import annotations

import contextlib
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.machine import wait_until
from tests.system.acceptance.cluster import Machine, boot_systemd, reach
from tests.system.acceptance.conftest import Node, build_site
from tests.system.acceptance.fencing import STRUCK
from tests.system.acceptance.formation import FOLDER, locate

PATIENCE = 300
"""Seconds: databases and timeouts of clusters, on a machine that may be busy."""


@dataclass
class Rack:
    """Machines that are off at first; each has a root folder of its own."""

    roots: list[Path]
    switch: int
    running: dict[str, tuple[Machine, contextlib.ExitStack]] = field(default_factory=dict)

    def boot(self, number: int, name: str, address: str) -> Machine:
        """Switch a machine on. The address has the length of its prefix."""
        scope = contextlib.ExitStack()
        machine = scope.enter_context(boot_systemd(self.roots[number], self.switch, name=name, address=address))
        self.running[name] = (machine, scope)
        return machine

    def cut(self, name: str) -> None:
        """Pull a machine's plug."""
        self.running.pop(name)[1].close()

    def close(self) -> None:
        """Pull every plug."""
        for name in list(self.running):
            self.cut(name)

    def __getitem__(self, name: str) -> Machine:
        return self.running[name][0]

    @property
    def machines(self) -> tuple[Machine, ...]:
        """Those that are on."""
        return tuple(machine for machine, _ in self.running.values())

    def call(self, command: str) -> str:
        """Output of a program that runs at the switch: a client that is none of the machines."""
        return reach(self.switch, command)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that the cluster does."""
        wait_until(condition, what, seconds=PATIENCE, evidence=self.describe)

    def describe(self) -> str:
        """Evidence of all that run."""
        look = "crm_mon -1rfA; crm configure show; journalctl --no-pager -b -u pacemaker -n 60; systemctl --failed"
        log = "grep -E ' (error|warning|notice)' /opt/ha/var/log/pacemaker/pacemaker.log | tail -60"
        return "\n".join(f"{machine.name}:\n{machine.tell(f'{look}; {log}')}" for machine in self.machines)


@dataclass(frozen=True)
class Formed:
    """A cluster of an example on machines of a rack."""

    rack: Rack
    addresses: dict[str, str]
    """Of its nodes, by name."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its nodes."""
        return tuple(self.addresses)

    @property
    def witness(self) -> Machine:
        """A node that is on."""
        return next(self.rack[name] for name in self.names if name in self.rack.running)

    def boot(self, name: str) -> None:
        """Switch a node on."""
        self.rack.boot(self.names.index(name), name, f"{self.addresses[name]}/24")

    def start(self, name: str, more: str = "") -> None:
        """Start the services of a node that was switched on."""
        self.rack[name].run(f"systemctl start corosync {more} pacemaker")

    def wait_until_online(self, *names: str) -> None:
        """Wait until nodes, left out: all, are online."""
        self.rack.wait(lambda: all(f" {n} " in self._find_online() for n in names or self.names), "nodes online")

    def _find_online(self) -> str:
        found = re.search(r"\* Online: \[(.*)\]", self.witness.tell("crm_mon -1"))
        return found[1] if found else ""

    def wait_until_placed(self, resource: str, *but: str) -> str:
        """Wait until a resource runs, on none of some nodes: where."""
        self.rack.wait(lambda: locate(self.witness, resource) not in ("", *but), f"{resource} not on {but}")
        return locate(self.witness, resource)

    def lose(self, name: str) -> None:
        """Pull a node's plug, and wait until the cluster has had it switched off."""
        self.rack.cut(name)
        self.rack.wait(lambda: self.was_switched_off(name), f"power switch of {name}")

    def was_switched_off(self, name: str) -> bool:
        """True where the stand-in for power switches was asked."""
        return any(f" {name} red" in machine.tell(f"cat {STRUCK} 2>/dev/null") for machine in self.rack.machines)


def adapt(text: str) -> str:
    """An example with this laboratory's power switches; everything else as it stands."""
    text = text.replace('"fence_ipmilan"', '"fence_standin"')
    return re.sub(r"parameters = \{ ip = .*", 'parameters = { outlet = "red" }', text)


@contextlib.contextmanager
def form(
    rack: Rack, text: str, folder: Path, *, prepare: Callable[[Formed], None] = lambda formed: None, more: str = ""
) -> Iterator[Formed]:
    """The cluster of a site file on machines of the rack, which are free for another one afterwards.

    prepare is called when its nodes have booted; more names services between corosync and pacemaker.
    """
    package = build_site(text, folder)
    formed = Formed(rack, {node["name"]: node["addresses"][0] for node in tomllib.loads(text)["nodes"]})
    hosts = "".join(f"{address} {name}\n" for name, address in formed.addresses.items())
    install = "apt-get update -q && apt-get install -y --no-install-recommends /root/site.deb"

    def make(number: int, name: str) -> None:
        root = rack.roots[number]
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        (root / "etc/hostname").write_text(f"{name}\n")
        shutil.copy(package, root / "root/site.deb")
        Node(root=root).run(install, hostname=name)

    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(make, range(len(formed.names)), formed.names))
            list(pool.map(formed.boot, formed.names))
        one = rack[formed.names[0]]
        one.run("ha-stack keygen")
        for name in formed.names[1:]:
            shutil.copy2(one.root / FOLDER[1:] / "authkey", rack[name].root / FOLDER[1:] / "authkey")
        prepare(formed)
        for name in formed.names:
            formed.start(name, more)
        formed.wait_until_online()
        one.run("ha-stack bootstrap")
        yield formed
    finally:
        rack.close()
        clear = (
            "apt-get purge -y 'ha-stack-site*'; rm -rf /opt/ha/etc/corosync/authkey /opt/ha/var/lib/pacemaker/cib/* "
            f"/opt/ha/var/lib/corosync/* {STRUCK}"
        )
        for number, name in enumerate(formed.names):
            Node(root=rack.roots[number]).run(clear, hostname=name)
