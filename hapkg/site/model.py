"""Description of one cluster: the site file, and every rule it can break. docs/site.md is the reference of the keys."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from hapkg.errors import SiteError, did_you_mean
from hapkg.locations import read_toml
from hapkg.recipe.settings import parse_table
from hapkg.site.drbd import Drbd, Volume
from hapkg.site.extra import Command, find_first_line, read_commands
from hapkg.site.fencing import Fencing
from hapkg.site.tables import FIRST_LINE, ClusterTable, Crm, Dlm, Gfs2, Logging, Node, Quorum, SiteTable

DLM_PORT = 21064


class Site(SiteTable):
    """One cluster."""

    cluster: ClusterTable
    nodes: Annotated[tuple[Node, ...], Field(strict=False, min_length=1)]
    quorum: Quorum = Quorum()
    logging: Logging = Logging()
    fencing: Fencing = Fencing()
    drbd: Annotated[tuple[Drbd, ...], Field(strict=False)] = ()
    dlm: Dlm | None = None
    gfs2: Annotated[tuple[Gfs2, ...], Field(strict=False)] = ()
    crm: Crm = Crm()

    @property
    def two_node(self) -> bool:
        """True where one node of two goes on alone."""
        return len(self.nodes) == 2 if self.quorum.two_node is None else self.quorum.two_node

    @property
    def uses_dlm(self) -> bool:
        """True where the lock manager runs."""
        return self.dlm is not None or bool(self.gfs2)

    @property
    def dlm_options(self) -> dict[str, int | str]:
        """Settings of dlm.conf."""
        return dict((self.dlm or Dlm()).options)

    @property
    def mounted(self) -> frozenset[str]:
        """Names of the DRBD resources that carry file systems."""
        return frozenset(f.volume.partition("/")[0] for f in self.gfs2 if f.volume)

    @property
    def fenced(self) -> bool:
        """True where lost nodes are switched off."""
        return bool(self.fencing.devices or self.devices_by_hand)

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """Commands of [crm] extra."""
        return tuple(read_commands(self.crm.extra))

    @property
    def devices_by_hand(self) -> tuple[str, ...]:
        """Fencing devices of [crm] extra."""
        return tuple(command.name for command in self.commands if command.fences)

    @property
    def links(self) -> int:
        """How many links join the nodes."""
        return len(self.nodes[0].addresses)

    def find_node(self, name: str) -> Node:
        """A node by its name."""
        return next(node for node in self.nodes if node.name == name)

    def find_members(self, resource: Drbd) -> tuple[Node, ...]:
        """The nodes of a DRBD resource."""
        return tuple(self.find_node(name) for name in resource.nodes) if resource.nodes else self.nodes

    def find_volume(self, name: str) -> tuple[Drbd, Volume] | None:
        """A volume by RESOURCE/NUMBER."""
        holder, _, number = name.partition("/")
        return next(((r, v) for r in self.drbd if r.name == holder for v in r.volumes if v.number == int(number)), None)

    def find_device(self, filesystem: Gfs2) -> str:
        """Device that a file system is made on and mounted from."""
        found = self.find_volume(filesystem.volume) if filesystem.volume else None
        return found[1].device if found else filesystem.device or ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Choices of the site that its readers should know."""
        found = []
        if self.fencing.opt_out is not None:
            found.append(f"no fencing: a lost node is never switched off, data may be lost ({self.fencing.opt_out})")
        if self.devices_by_hand:
            devices = ", ".join(self.devices_by_hand)
            found.append(f"{devices} of extra: which nodes they switch off is not checked; [[fencing.devices]] are")
        if self.two_node and (mend := self.fencing.find_race([node.name for node in self.nodes], self.crm.properties)):
            found.append(f"two nodes that lose sight of each other may switch each other off at once: {mend}")
        if not self.cluster.encrypted:
            found.append("no crypto: whoever reaches the ring's network can join and command the cluster")
        if self.two_node is False and len(self.nodes) == 2:
            found.append("two-node = false: when one of two nodes is lost, the other stops its resources")
        found += [
            f"resource {resource.name}: with module 9 its volumes are resynced together, and a snapshot that fails for "
            "one stops the resync of all: snapshots are better with a resource for each volume"
            for resource in self.drbd
            if resource.snapshots and resource.module == "9" and len(resource.volumes) > 1
        ]
        if self.dlm and "enable_quorum_lockspace" in self.dlm.options:
            found.append("enable_quorum_lockspace is set: its default is right for clusters with working quorum")
        return tuple(found)

    @model_validator(mode="after")
    def _joins_its_nodes(self) -> Self:
        _refuse_doubles("node name", (node.name for node in self.nodes))
        _refuse_doubles("node id", (node.id for node in self.nodes))
        _refuse_doubles("address", (address for node in self.nodes for address in node.addresses))
        for node in self.nodes:
            if len(node.addresses) != self.links:
                raise ValueError(
                    f"node {node.name} has {len(node.addresses)} addresses and {self.nodes[0].name} {self.links}: "
                    "every node has one for each link"
                )
            families = [ipaddress.ip_address(address).version for address in node.addresses]
            if families != [ipaddress.ip_address(address).version for address in self.nodes[0].addresses]:
                raise ValueError(f"node {node.name} mixes IPv4 and IPv6 on one link with {self.nodes[0].name}")
        if self.cluster.transport != "knet":
            if self.links > 1:
                raise ValueError(f"transport {self.cluster.transport} has one link: use knet, or one address a node")
            if self.cluster.encrypted or self.cluster.crypto_cipher != "none":
                raise ValueError(
                    f"transport {self.cluster.transport} cannot encrypt: use knet, or say crypto-cipher = "
                    '"none" and crypto-hash = "none"'
                )
        if self.cluster.crypto_cipher != "none" and not self.cluster.encrypted:
            raise ValueError("a cipher needs a hash: crypto-hash cannot be none")
        if self.two_node and len(self.nodes) != 2:
            raise ValueError(f"two-node is for two nodes, and there are {len(self.nodes)}: leave it out")
        return self

    @model_validator(mode="after")
    def _replicates_between_its_nodes(self) -> Self:
        _refuse_doubles("DRBD resource", (resource.name for resource in self.drbd))
        volumes = [(resource, volume) for resource in self.drbd for volume in resource.volumes]
        _refuse_doubles("volume", (f"{resource.name}/{volume.number}" for resource, volume in volumes))
        _refuse_doubles("minor", (volume.minor for _, volume in volumes))
        _refuse_doubles(
            "TCP port", (*(resource.port for resource in self.drbd), *([DLM_PORT] if self.uses_dlm else []))
        )
        for resource in self.drbd:
            self._check_names(f"DRBD resource {resource.name}", resource.nodes)
            self._check_members(resource)
            if resource.link >= self.links:
                raise ValueError(f"DRBD resource {resource.name}: there is no link {resource.link}, they count from 0")
            if resource.dual_primary and resource.protocol != "C":
                raise ValueError(f"DRBD resource {resource.name}: dual-primary needs protocol C")
        for node in self.nodes:
            here = [volume for resource, volume in volumes if node in self.find_members(resource)]
            _refuse_doubles("disk", (disk for volume in here for disk in volume.list_disks(node.name)))
        return self

    def _check_members(self, resource: Drbd) -> None:
        where, members = f"DRBD resource {resource.name}", self.find_members(resource)
        names = tuple(node.name for node in members)
        if len(members) < 2:
            raise ValueError(f"{where} joins {len(members)} nodes: name two in nodes")
        if len(members) > 2 and resource.module != "9":
            raise ValueError(
                f'{where} joins {len(members)} nodes: name two in nodes, or say module = "9", which joins more'
            )
        if len(members) > 2 and resource.dual_primary:
            raise ValueError(f"{where}: dual-primary is for two nodes, and it joins {len(members)}")
        for volume in resource.volumes:
            volume.check_nodes(f"volume {resource.name}/{volume.number}", names)

    @model_validator(mode="after")
    def _mounts_what_it_has(self) -> Self:
        _refuse_doubles("file system", (filesystem.name for filesystem in self.gfs2))
        _refuse_doubles("mount point", (filesystem.mount for filesystem in self.gfs2))
        beneath = {
            disk: f"{disk} belongs to volume {resource.name}/{volume.number}"
            for resource in self.drbd
            for volume in resource.volumes
            for disk in volume.disks
        }
        for filesystem in self.gfs2:
            where = f"file system {filesystem.name}"
            if (filesystem.volume is None) == (filesystem.device is None):
                raise ValueError(f"{where} needs volume (of DRBD) or device (shared otherwise), one of them")
            if filesystem.device and filesystem.device.startswith("/dev/drbd"):
                raise ValueError(f"{where}: say volume = RESOURCE/NUMBER instead of device = {filesystem.device}")
            if filesystem.device in beneath:
                raise ValueError(f"{where} would be mounted from under DRBD: {beneath[filesystem.device]}")
            found = self.find_volume(filesystem.volume) if filesystem.volume else None
            if filesystem.volume and found is None:
                known = [f"{resource.name}/{volume.number}" for resource in self.drbd for volume in resource.volumes]
                guess = did_you_mean(filesystem.volume, known) or f"known: {', '.join(known) or 'none'}"
                raise ValueError(f"{where}: there is no volume {filesystem.volume}; {guess}")
            if found and not found[0].dual_primary:
                raise ValueError(
                    f"{where} is mounted on both nodes: resource {found[0].name} needs dual-primary = true"
                )
            if filesystem.journals is not None and filesystem.journals < len(self.nodes):
                raise ValueError(
                    f"{where} has {filesystem.journals} journals for {len(self.nodes)} nodes: every node needs one"
                )
            table = f"{self.cluster.name}:{filesystem.name}"
            if filesystem.lock_table not in (None, table):
                raise ValueError(
                    f"{where}: lock-table {filesystem.lock_table} must be {table}, or the cluster {self.cluster.name} "
                    "cannot mount it"
                )
        _refuse_doubles("volume of a file system", (self.find_device(filesystem) for filesystem in self.gfs2))
        return self

    @model_validator(mode="after")
    def _fences(self) -> Self:
        devices = self.fencing.devices
        _refuse_doubles("fencing device", (device.name for device in devices))
        for device in devices:
            self._check_names(f"fencing device {device.name}", device.nodes)
        self._check_names("fencing.levels", self.fencing.levels)
        self.fencing.check_levels()
        if self.fenced and self.fencing.opt_out is not None:
            names = ", ".join((*(device.name for device in devices), *self.devices_by_hand))
            raise ValueError(f"fencing has devices and opt-out: remove one of them ({names})")
        covered = {name for device in devices for name in device.nodes}
        missing = [node.name for node in self.nodes if node.name not in covered]
        if devices and missing and not self.devices_by_hand:
            raise ValueError(f"no fencing device can switch off {', '.join(missing)}: name one that can")
        reasons = [f"resource {resource.name} is dual-primary" for resource in self.drbd if resource.dual_primary]
        reasons += ["DLM recovers only after a lost node was switched off"] if self.uses_dlm else []
        reasons += ["a lost node that is alive goes on writing"] if len(self.nodes) > 1 else []
        if reasons and not self.fenced and self.fencing.opt_out is None:
            raise ValueError(
                f"fencing is missing, and {reasons[0]}: add [[fencing.devices]], or say in [fencing] opt-out why this "
                "site risks its data"
            )
        return self

    @model_validator(mode="after")
    def _names_each_thing_once(self) -> Self:
        seen: dict[str, str] = {}
        for name, what in self._list_ids():
            if name in seen:
                raise ValueError(f"{what} would be called {name} in pacemaker, as {seen[name]} is: choose another name")
            seen[name] = what
        return self

    def _list_ids(self) -> Iterator[tuple[str, str]]:
        """Names in pacemaker, where those of all kinds are one set, and where each comes from."""
        if self.uses_dlm:
            yield from ((name, "the lock manager") for name in ("dlm", "dlm_clone"))
        for resource in self.drbd:
            yield from ((f"{start}_{resource.name}", f"DRBD resource {resource.name}") for start in ("drbd", "ms_drbd"))
        for filesystem in self.gfs2:
            names = (f"fs_{filesystem.name}", f"fs_{filesystem.name}_clone")
            yield from ((name, f"file system {filesystem.name}") for name in names)
        for device in self.fencing.devices:
            yield device.name, f"fencing device {device.name}"
        for command in self.commands:
            if command.name and command.words[0].lower() not in ("tag", "acl_target"):
                yield command.name, f"{command.words[0]} {command.name} of extra"

    def _check_names(self, where: str, names: Iterable[str]) -> None:
        known = [node.name for node in self.nodes]
        for name in names:
            if name not in known:
                raise ValueError(f"{where}: there is no node {name}; {did_you_mean(name, known) or ', '.join(known)}")
        _refuse_doubles(f"node of {where}", names)


def read_site(file: Path) -> Site:
    """The site that a file describes. Raises SiteError naming file, key and remedy."""
    table = read_toml(file, SiteError)
    context = {FIRST_LINE: find_first_line(file.read_text("utf-8"))}
    return parse_table(Site, table, where=str(file), error=SiteError, context=context)


def _refuse_doubles(what: str, values: Iterable[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value} stands there twice")
        seen.add(value)
