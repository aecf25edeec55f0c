"""The site file as tables that are not yet checked against each other. docs/site.md is the reference of the keys."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import Field

from hapkg.site.booth import Booth
from hapkg.site.drbd import Drbd, Volume
from hapkg.site.extra import Command, read_commands
from hapkg.site.fencing import Fencing
from hapkg.site.quorum import Quorum
from hapkg.site.service import Mount, Service
from hapkg.site.tables import Alert, ClusterTable, Crm, Dlm, Gfs2, Logging, Lvm, Node, RemoteNode, SiteTable


class Layout(SiteTable):
    """Tables of a site file, and lookups in them by name."""

    cluster: ClusterTable
    nodes: Annotated[tuple[Node, ...], Field(strict=False, min_length=1)]
    quorum: Quorum = Quorum()
    logging: Logging = Logging()
    fencing: Fencing = Fencing()
    drbd: Annotated[tuple[Drbd, ...], Field(strict=False)] = ()
    dlm: Dlm | None = None
    lvm: Lvm | None = None
    gfs2: Annotated[tuple[Gfs2, ...], Field(strict=False)] = ()
    service: Annotated[tuple[Service, ...], Field(strict=False)] = ()
    remote: Annotated[tuple[RemoteNode, ...], Field(strict=False)] = ()
    booth: Booth | None = None
    alert: Annotated[tuple[Alert, ...], Field(strict=False)] = ()
    crm: Crm = Crm()

    @property
    def two_node(self) -> bool:
        """True where one node of two goes on alone."""
        if self.quorum.two_node is not None:
            return self.quorum.two_node
        options = (self.quorum.device, self.quorum.auto_tie_breaker)
        return len(self.nodes) == 2 and options == (None, None) and all(node.votes == 1 for node in self.nodes)

    @property
    def uses_dlm(self) -> bool:
        """True where the lock manager runs."""
        return self.dlm is not None or self.lvm is not None or bool(self.gfs2)

    @property
    def dlm_options(self) -> dict[str, int | str]:
        """Settings of dlm.conf."""
        # TCP takes one address of a node: with several links dlm_controld would give the kernel more.
        own: dict[str, int | str] = {"protocol": "sctp"} if self.links > 1 else {}
        return {**own, **(self.dlm or Dlm()).options}

    @property
    def dlm_by_sctp(self) -> bool:
        """True where lock managers talk over all links, by SCTP."""
        return self.uses_dlm and str(self.dlm_options.get("protocol", "")).lower() in ("sctp", "1")

    @property
    def shared_groups(self) -> tuple[str, ...]:
        """Volume groups that several nodes use at once."""
        return self.lvm.shared if self.lvm else ()

    @property
    def active_groups(self) -> tuple[str, ...]:
        """Those that are active on every node: no service activates them on one."""
        own = {group for service in self.service for group in service.volume_groups}
        return tuple(group for group in self.shared_groups if group not in own)

    @property
    def mounted(self) -> frozenset[str]:
        """Names of the DRBD resources that carry file systems."""
        return frozenset(f.volume.partition("/")[0] for f in self.gfs2 if f.volume)

    @property
    def parts(self) -> tuple[str, ...]:
        """Packages of the stack that its nodes need, without the project's prefix."""
        found = ["stack"]
        if self.quorum.device:
            found.append("corosync-qdevice")
        if self.fencing.sbd:
            found.append("sbd")
        if self.booth or any(command.agent == "ocf:pacemaker:booth-site" for command in self.commands):
            found.append("booth")
        return tuple(found)

    @property
    def debian_parts(self) -> tuple[str, ...]:
        """Packages of Debian's that its nodes need."""
        return ("lvm2-lockd",) if self.lvm else ()

    @property
    def mount_points(self) -> tuple[str, ...]:
        """Folders that file systems are mounted on."""
        mounts = [mount.mount for service in self.service for mount in service.mounts]
        return (*(filesystem.mount for filesystem in self.gfs2), *mounts)

    @property
    def expected_votes(self) -> int:
        """Votes of all nodes and of the device."""
        return sum(node.votes for node in self.nodes) + self.quorum.count_device_votes(len(self.nodes))

    @property
    def fenced(self) -> bool:
        """True where lost nodes are switched off."""
        return bool(self.fencing.devices or self.devices_by_hand or self.fencing.sbd)

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

    def find_group(self, device: str | None) -> str:
        """The shared volume group, active on every node, that a device is of; "" for any other."""
        starts = {group: (f"/dev/{group}/", f"/dev/mapper/{group.replace('-', '--')}-") for group in self.active_groups}
        return next((group for group, start in starts.items() if device and device.startswith(start)), "")

    def find_device(self, filesystem: Gfs2 | Mount) -> str:
        """Device that a file system is made on and mounted from."""
        found = self.find_volume(filesystem.volume) if filesystem.volume else None
        return found[1].device if found else filesystem.device or ""
