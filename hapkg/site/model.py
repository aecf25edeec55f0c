"""Description of one cluster: the site file, and every rule it can break. docs/site.md is the reference of the keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from pydantic import model_validator

from hapkg.errors import SiteError, did_you_mean
from hapkg.locations import read_toml
from hapkg.site.drbd import Drbd
from hapkg.site.extra import find_first_line
from hapkg.site.layout import Layout
from hapkg.site.service import Mount
from hapkg.site.tables import FIRST_LINE, Gfs2, Node
from hapkg.site.words import is_address
from hapkg.tables import parse_table

DLM_PORT = 21064
REMOTE_PORT = 3121


class Site(Layout):
    """One cluster."""

    def _pair_addresses(self, node: Node) -> Iterator[tuple[str, str]]:
        """Addresses of a node beside the first node's, link by link, where both are addresses and not names."""
        for one, other in zip(node.addresses, self.nodes[0].addresses, strict=True):
            if is_address(one) and is_address(other):
                yield one, other

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
        elif self.cluster.crypto_cipher == "none":
            found.append("crypto-cipher = none: passwords of agents can be read on the network of the ring")
        if self.cluster.crypto_hash in ("md5", "sha1"):
            found.append(f"crypto-hash = {self.cluster.crypto_hash}: its day is over, sha256 costs no more")
        if self.quorum.two_node is False and len(self.nodes) == 2 and self.quorum.device is None:
            found.append("two-node = false: when one of two nodes is lost, the other stops its resources")
        found += [
            f"resource {resource.name}: with module 9 its volumes are resynced together, and a snapshot that fails for "
            "one stops the resync of all: snapshots are better with a resource for each volume"
            for resource in self.drbd
            if resource.snapshots and resource.module == "9" and len(resource.volumes) > 1
        ]
        if names := [address for node in self.nodes for address in node.addresses if not is_address(address)]:
            found.append(f"{', '.join(names)}: each node resolves names by itself, so keep them in every /etc/hosts")
        if len(self.nodes) == 2 and self.quorum.auto_tie_breaker:
            found.append("auto-tie-breaker with two nodes: the one that breaks no tie stops when the other is lost")
        for node in self.remote:
            if node.guest and f"remote-node={node.name}" not in self.crm.extra.replace('"', ""):
                found.append(f"guest {node.name}: no resource of extra has meta remote-node={node.name}")
        if self.dlm and "enable_quorum_lockspace" in self.dlm.options:
            found.append("enable_quorum_lockspace is set: its default is right for clusters with working quorum")
        return tuple(found)

    @model_validator(mode="after")
    def _joins_its_nodes(self) -> Self:
        _refuse_doubles("node name", (*(node.name for node in self.nodes), *(node.name for node in self.remote)))
        _refuse_doubles("node id", (node.id for node in self.nodes))
        _refuse_doubles("address", (address for node in self.nodes for address in node.addresses))
        for node in self.nodes:
            if len(node.addresses) != self.links:
                raise ValueError(
                    f"node {node.name} has {len(node.addresses)} addresses and {self.nodes[0].name} {self.links}: "
                    "every node has one for each link"
                )
            if any({":" in one, ":" in other} == {True, False} for one, other in self._pair_addresses(node)):
                raise ValueError(f"node {node.name} mixes IPv4 and IPv6 on one link with {self.nodes[0].name}")
        for link in self.cluster.links:
            if link.number >= self.links:
                raise ValueError(f"cluster.links: there is no link {link.number}, nodes have {self.links}")
        _refuse_doubles("options of link", (link.number for link in self.cluster.links))
        _refuse_doubles("UDP port", (self.cluster.find_port(link) for link in range(self.links)))
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
        if self.two_node and self.quorum.wait_for_all is False:
            raise ValueError(
                "quorum: wait-for-all = false beside two-node: each of two nodes that start apart would take the "
                "cluster for its own"
            )
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
        if len({resource.authenticate for resource in self.drbd}) > 1:
            raise ValueError("DRBD resources: authenticate is for all or for none, because DRBD has one common section")
        for resource in self.drbd:
            self._check_names(f"DRBD resource {resource.name}", resource.nodes)
            self._check_members(resource)
            if resource.link < self.links:
                names = [node.addresses[resource.link] for node in self.find_members(resource)]
                if named := next((name for name in names if not is_address(name)), ""):
                    raise ValueError(f"DRBD resource {resource.name} needs addresses, and {named} is a name")
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
    def _serves(self) -> Self:
        _refuse_doubles("service", (service.name for service in self.service))
        mounts = [mount for service in self.service for mount in service.mounts]
        _refuse_doubles("mount point", self.mount_points)
        filesystems: list[Gfs2 | Mount] = [*self.gfs2, *mounts]
        _refuse_doubles("device", [self.find_device(filesystem) for filesystem in filesystems])
        _refuse_doubles("address of a service", (address for service in self.service for address in service.addresses))
        groups = [group for service in self.service for group in service.volume_groups]
        _refuse_doubles("volume group", self.shared_groups)
        _refuse_doubles("volume group of a service", groups)
        if self.lvm and (alone := next((group for group in groups if group not in self.shared_groups), "")):
            raise ValueError(
                f"volume group {alone} would be told apart by system ID, and LVM does that or asks lvmlockd, not both: "
                "name it in lvm.shared, too"
            )
        known = {resource.name: resource for resource in self.drbd}
        beneath = {disk for resource in self.drbd for volume in resource.volumes for disk in volume.disks}
        fixed = {address for node in self.nodes for address in node.addresses}
        for service in self.service:
            where = f"service {service.name}"
            self._check_names(where, service.prefer)
            for address in service.addresses:
                if address.partition("/")[0] in fixed:
                    raise ValueError(f"{where}: address {address} is a node's own, and cannot move")
            for name in service.replicated:
                if name not in known:
                    told = did_you_mean(name, known) or f"known: {', '.join(known) or 'none'}"
                    raise ValueError(f"{where}: there is no DRBD resource {name}; {told}")
                if known[name].dual_primary:
                    raise ValueError(f"{where}: resource {name} is dual-primary, and the service writes on one node")
            for mount in service.mounts:
                if mount.volume and self.find_volume(mount.volume) is None:
                    raise ValueError(f"{where}: there is no volume {mount.volume}")
                if mount.device in beneath:
                    raise ValueError(f"{where}: {mount.device} would be mounted from under DRBD: say volume")
                if mount.device and mount.device.startswith("/dev/drbd"):
                    raise ValueError(f"{where}: say volume = RESOURCE/NUMBER instead of device = {mount.device}")
        return self

    @model_validator(mode="after")
    def _fences(self) -> Self:
        devices = self.fencing.devices
        _refuse_doubles("fencing device", (device.name for device in devices))
        for device in devices:
            self._check_names(f"fencing device {device.name}", device.nodes, remote=True)
        self._check_names("fencing.levels", self.fencing.levels, remote=True)
        self.fencing.check_levels()
        if self.fenced and self.fencing.opt_out is not None:
            own = ["sbd"] if self.fencing.sbd else []
            names = ", ".join((*(device.name for device in devices), *self.devices_by_hand, *own))
            raise ValueError(f"fencing has devices and opt-out: remove one of them ({names})")
        alone = self.fencing.sbd is not None and not (self.fencing.sbd.devices or devices or self.devices_by_hand)
        if alone and len(self.nodes) < 3 and self.quorum.device is None:
            raise ValueError(
                "fencing.sbd without a disk lets a node end that loses quorum, and one of two nodes never does: name a "
                "disk, or [quorum.device]"
            )
        covered = {name for device in devices for name in device.nodes}
        machines = [node.name for node in self.nodes] + [node.name for node in self.remote if not node.guest]
        missing = [name for name in machines if name not in covered]
        if devices and missing and not (self.devices_by_hand or self.fencing.sbd):
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
        named = [("lvmlockd", "LVM's lock daemon")] if self.lvm else []
        named += [(f"vg_{group}", f"volume group {group}") for group in self.active_groups]
        yield from ((name + end, what) for name, what in named for end in ("", "_clone"))
        yield from ((alert.name, f"alert {alert.name}") for alert in self.alert)
        for resource in self.drbd:
            yield from ((f"{start}_{resource.name}", f"DRBD resource {resource.name}") for start in ("drbd", "ms_drbd"))
        for filesystem in self.gfs2:
            names = (f"fs_{filesystem.name}", f"fs_{filesystem.name}_clone")
            yield from ((name, f"file system {filesystem.name}") for name in names)
        if self.booth:
            yield from ((name, "booth") for name in ("booth", "booth_ip", "booth_site"))
        for node in self.remote:
            # What pacemaker makes of a guest by itself has its name, too.
            yield node.name, f"remote node {node.name}"
        if self.fencing.sbd and self.fencing.sbd.devices:
            yield "sbd", "sbd"
        for device in self.fencing.devices:
            yield device.name, f"fencing device {device.name}"
        for service in self.service:
            yield from ((name, f"service {service.name}") for name in service.ids)
        for command in self.commands:
            if command.name and command.words[0].lower() not in ("tag", "acl_target"):
                yield command.name, f"{command.words[0]} {command.name} of extra"

    def _check_names(self, where: str, names: Iterable[str], *, remote: bool = False) -> None:
        known = [node.name for node in self.nodes] + [node.name for node in self.remote if remote]
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
