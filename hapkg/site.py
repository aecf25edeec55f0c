"""What one cluster is: the site file, and every rule it can break. docs/site.md is the reference of the keys."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from hapkg.config import Line, Table, parse_table, read_toml
from hapkg.errors import SiteError, did_you_mean

SITE_FILE = "site.toml"
DLM_PORT = 21064
_MOST_LINKS = 8
"""Links that kronosnet has for one node."""
_SECRETS = re.compile(r"(.*[_-])?(passwd|password|passphrase|secret|token)\Z")
_DLM_OPTIONS = (
    "bind_all",
    "debug_logfile",
    "drop_resources_age",
    "drop_resources_count",
    "drop_resources_time",
    "enable_concurrent_fencing",
    "enable_fencing",
    "enable_plock",
    "enable_quorum_fencing",
    "enable_quorum_lockspace",
    "enable_startup_fencing",
    "log_debug",
    "mark",
    "plock_debug",
    "plock_ownership",
    "plock_rate_limit",
    "post_join_delay",
    "protocol",
    "repeat_failed_fencing",
)
"""What dlm.conf(5) knows as NAME=VALUE."""


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address: names resolve differently on every node") from None


def _absolute(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._+:@-]+)+", value) or ".." in value.split("/"):
        raise ValueError(f"{value!r} must be an absolute path of letters, digits and . _ + : @ -")
    return value


def _meta_disk(value: str) -> str:
    return value if value == "internal" else _absolute(value)


def _word(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value) or re.search(r"""["'\\;{}#]""", value):
        raise ValueError(f"{value!r} must be one word without quotes, backslash, ; {{ }} #")
    return value


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=32)]
"""Also a part of resource names."""
Address = Annotated[str, AfterValidator(_address)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Word = Annotated[str, AfterValidator(_word)]
Port = Annotated[int, Field(ge=1, le=65535)]


def _make_dlm_options() -> dict[str, int | str]:
    """Those of the tutorial: a log of its own, with what happens."""
    return {"log_debug": 1, "debug_logfile": 1}


class SiteTable(Table):
    """A table of the site file."""

    reference: ClassVar[str] = "docs/site.md"


class ClusterTable(SiteTable):
    """Corosync: who talks to whom, and how."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=32)]
    transport: Literal["knet", "udpu", "udp"] = "knet"
    link_mode: Literal["passive", "active", "rr"] = "passive"
    """Which of several links carries the messages."""
    crypto_cipher: Literal["aes256", "aes192", "aes128", "none"] = "aes256"
    crypto_hash: Literal["sha256", "sha384", "sha512", "sha1", "md5", "none"] = "sha256"
    port: Annotated[int, Field(ge=1, le=65535 - _MOST_LINKS)] = 5405
    """Of the first link; the next ones count on from there."""
    token: Annotated[int, Field(ge=100, le=600_000)] | None = None
    """Milliseconds until a silent node is lost; corosync's own default where it is left out."""
    start_at_boot: bool | None = None
    """Whether the node's services start with it; left out, the node's administrator decides."""

    @property
    def encrypted(self) -> bool:
        """Whether nodes need the cluster's key."""
        return self.crypto_hash != "none"


class Node(SiteTable):
    """One member."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", max_length=64)]
    """As `uname -n` tells it."""
    id: Annotated[int, Field(ge=1, le=2**31 - 1)]
    addresses: Annotated[tuple[Address, ...], Field(strict=False, min_length=1, max_length=_MOST_LINKS)]
    """One for each link, in the same order on every node."""


class Quorum(SiteTable):
    """Votes."""

    two_node: bool | None = None
    """One node of two goes on alone; left out, true for a cluster of two."""


class Logging(SiteTable):
    """Where the daemons' messages go."""

    facility: Annotated[str, Field(pattern=r"^(local[0-7]|daemon)$")] = "local7"
    file: AbsolutePath = "/var/log/corosync.log"
    debug: bool = False


class FencingDevice(SiteTable):
    """A way to switch off nodes."""

    name: Identifier
    agent: Annotated[str, Field(pattern=r"^(fence_[a-z0-9_]+|external/[a-z0-9_-]+)$")]
    nodes: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
    """Those that it can switch off."""
    parameters: dict[Identifier, Word | int | bool] = Field(default_factory=dict)

    @field_validator("parameters")
    @classmethod
    def _tells_no_secret(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if _SECRETS.match(name):
                raise ValueError(
                    f"{name} is a secret, and packages are read by everybody: name a script on the node that prints "
                    f'it, {re.sub(r"passwd$", "password", name)}_script = "/opt/ha/etc/ha-stack/secret"'
                )
        return value


class Fencing(SiteTable):
    """How the cluster makes sure that a lost node does no harm."""

    devices: Annotated[tuple[FencingDevice, ...], Field(strict=False)] = ()
    opt_out: Line | None = None
    """Why this site goes without, in words that its readers will see."""


class Volume(SiteTable):
    """One block device of a DRBD resource."""

    number: Annotated[int, Field(ge=0, le=65535)]
    minor: Annotated[int, Field(ge=0, le=1_048_575)]
    """/dev/drbdMINOR."""
    disk: AbsolutePath
    meta_disk: Annotated[str, AfterValidator(_meta_disk)] = "internal"

    @property
    def disks(self) -> tuple[str, ...]:
        """What belongs to DRBD alone."""
        return (self.disk,) if self.meta_disk == "internal" else (self.disk, self.meta_disk)

    @property
    def device(self) -> str:
        """What is mounted."""
        return f"/dev/drbd{self.minor}"


class Drbd(SiteTable):
    """One DRBD resource between two nodes."""

    name: Identifier
    nodes: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Left out: both nodes of a cluster of two."""
    link: Annotated[int, Field(ge=0, lt=_MOST_LINKS)] = 0
    """Which address of its nodes it uses."""
    port: Port = 7789
    protocol: Literal["A", "B", "C"] = "C"
    module: Literal["8.4", "9"] = "8.4"
    """Series of the kernel's module; Debian's kernel brings 8.4."""
    dual_primary: bool = False
    snapshots: bool = False
    """Whether the target of a resync takes an LVM snapshot first; its volume group needs the space."""
    net: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")], Word | int | bool] = Field(default_factory=dict)
    disk: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")], Word | int | bool] = Field(default_factory=dict)
    volumes: Annotated[tuple[Volume, ...], Field(strict=False, min_length=1)]


class Dlm(SiteTable):
    """The lock manager."""

    options: dict[str, Annotated[int, Field(ge=0)] | Word] = Field(default_factory=_make_dlm_options)
    """dlm.conf."""

    @field_validator("options")
    @classmethod
    def _are_known(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name not in _DLM_OPTIONS:
                raise ValueError(f"{name} is no option of dlm.conf(5); {did_you_mean(name, _DLM_OPTIONS)}".rstrip("; "))
        return value


class Gfs2(SiteTable):
    """A file system that all its nodes mount at once."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=30)]
    volume: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*/[0-9]+$")] | None = None
    """RESOURCE/NUMBER of a DRBD volume."""
    device: AbsolutePath | None = None
    """Or a block device that all nodes share by other means."""
    mount: AbsolutePath
    options: Annotated[tuple[Word, ...], Field(strict=False)] = ("noatime",)
    journals: Annotated[int, Field(ge=1, le=64)] | None = None
    """Left out: one for each node."""
    lock_table: str | None = None
    """CLUSTER:NAME, for those who want it written down."""


class Crm(SiteTable):
    """What else pacemaker does."""

    properties: dict[Identifier, Word | int | bool] = Field(default_factory=dict)
    """Of the cluster, such as maintenance-mode."""
    extra: str = ""
    """Lines for crm configure."""

    @field_validator("properties")
    @classmethod
    def _leaves_fencing_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        if "stonith-enabled" in value:
            raise ValueError("stonith-enabled follows from [fencing]: name devices there, or opt-out")
        return value

    @field_validator("extra")
    @classmethod
    def _has_no_properties(cls, value: str) -> str:
        if re.search(r"(?m)^\s*property\b", value):
            raise ValueError("crm takes one line of properties: put them under [crm] properties = { NAME = VALUE }")
        return value


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
        """Whether one node of two goes on alone."""
        return len(self.nodes) == 2 if self.quorum.two_node is None else self.quorum.two_node

    @property
    def uses_dlm(self) -> bool:
        """Whether the lock manager runs."""
        return self.dlm is not None or bool(self.gfs2)

    @property
    def dlm_options(self) -> dict[str, int | str]:
        """What dlm.conf says."""
        return dict((self.dlm or Dlm()).options)

    @property
    def mounted(self) -> frozenset[str]:
        """Names of the DRBD resources that carry file systems."""
        return frozenset(f.volume.partition("/")[0] for f in self.gfs2 if f.volume)

    @property
    def fenced(self) -> bool:
        """Whether lost nodes are switched off."""
        return bool(self.fencing.devices)

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
        """What a file system is made on, and mounted from: the same, because it is said once."""
        found = self.find_volume(filesystem.volume) if filesystem.volume else None
        return found[1].device if found else filesystem.device or ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the site chose and its readers should know."""
        found = []
        if self.fencing.opt_out is not None:
            found.append(f"no fencing: a lost node is never switched off, data may be lost ({self.fencing.opt_out})")
        if not self.cluster.encrypted:
            found.append("no crypto: whoever reaches the ring's network can join and command the cluster")
        if self.two_node is False and len(self.nodes) == 2:
            found.append("two-node = false: when one of two nodes is lost, the other stops its resources")
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
        _refuse_doubles("disk", (disk for _, volume in volumes for disk in volume.disks))
        ports = [self.cluster.port, *(resource.port for resource in self.drbd), *([DLM_PORT] if self.uses_dlm else [])]
        _refuse_doubles("port", ports)
        for resource in self.drbd:
            self._check_names(f"DRBD resource {resource.name}", resource.nodes)
            if len(self.find_members(resource)) != 2:
                raise ValueError(
                    f"DRBD resource {resource.name} joins {len(self.find_members(resource))} nodes: name two in nodes"
                )
            if resource.link >= self.links:
                raise ValueError(f"DRBD resource {resource.name}: there is no link {resource.link}, they count from 0")
            if resource.dual_primary and resource.protocol != "C":
                raise ValueError(f"DRBD resource {resource.name}: dual-primary needs protocol C")
        return self

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
        if devices and self.fencing.opt_out is not None:
            raise ValueError("fencing has devices and opt-out: remove one of them")
        covered = {name for device in devices for name in device.nodes}
        missing = [node.name for node in self.nodes if node.name not in covered]
        if devices and missing:
            raise ValueError(f"no fencing device can switch off {', '.join(missing)}: name one that can")
        reasons = [f"resource {resource.name} is dual-primary" for resource in self.drbd if resource.dual_primary]
        reasons += ["DLM recovers only after a lost node was switched off"] if self.uses_dlm else []
        if reasons and not devices and self.fencing.opt_out is None:
            raise ValueError(
                f"fencing is missing, and {reasons[0]}: add [[fencing.devices]], or say in [fencing] opt-out why this "
                "site risks its data"
            )
        return self

    def _check_names(self, where: str, names: Iterable[str]) -> None:
        known = [node.name for node in self.nodes]
        for name in names:
            if name not in known:
                raise ValueError(f"{where}: there is no node {name}; {did_you_mean(name, known) or ', '.join(known)}")
        _refuse_doubles(f"node of {where}", names)


def read_site(file: Path) -> Site:
    """The site that a file describes. Raises SiteError naming file, key and remedy."""
    return parse_table(Site, read_toml(file, SiteError), where=str(file), error=SiteError)


def _refuse_doubles(what: str, values: Iterable[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value} stands there twice")
        seen.add(value)
