"""The tables of a site file, each by itself. docs/site.md is the reference of the keys."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from hapkg.errors import did_you_mean
from hapkg.site.extra import check_extra
from hapkg.site.secrets import refuse_secrets
from hapkg.site.words import (
    AbsolutePath,
    Address,
    ClusterName,
    CrmValue,
    DlmValue,
    Duration,
    FileSystemName,
    HostName,
    Identifier,
    Name,
    NodeName,
    OptionName,
    Port,
    Word,
)
from hapkg.tables import Table

FIRST_LINE = "first line of extra"
"""Key of the context that tells the tables where the text of extra begins in the file."""
MOST_LINKS = 8
"""Links that kronosnet has for one node."""
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
"""Settings that dlm.conf(5) has as NAME=VALUE."""


def _make_dlm_options() -> dict[str, int | str]:
    """Options of dlm_controld by default: a log of its own, with what happens."""
    return {"log_debug": 1, "debug_logfile": 1}


class SiteTable(Table):
    """A table of the site file."""

    reference: ClassVar[str] = "docs/site.md"


class RingLink(SiteTable):
    """Options of one link."""

    number: Annotated[int, Field(ge=0, lt=MOST_LINKS)]
    port: Port | None = None
    transport: Literal["udp", "sctp"] = "udp"
    priority: Annotated[int, Field(ge=0, le=255)] | None = None
    """With link-mode passive the highest of those that work is used."""
    ping_interval: Annotated[int, Field(ge=10, le=200_000)] | None = None
    ping_timeout: Annotated[int, Field(ge=10, le=200_000)] | None = None
    ping_precision: Annotated[int, Field(ge=1, le=65_535)] | None = None
    pong_count: Annotated[int, Field(ge=1, le=127)] | None = None

    @property
    def options(self) -> dict[str, int | str]:
        """Options by corosync's names."""
        found = {
            "knet_transport": self.transport if self.transport != "udp" else None,
            "knet_link_priority": self.priority,
            "knet_ping_interval": self.ping_interval,
            "knet_ping_timeout": self.ping_timeout,
            "knet_ping_precision": self.ping_precision,
            "knet_pong_count": self.pong_count,
        }
        return {name: value for name, value in found.items() if value is not None}


class ClusterTable(SiteTable):
    """Corosync: who talks to whom, and how."""

    name: ClusterName
    transport: Literal["knet", "udpu", "udp"] = "knet"
    link_mode: Literal["passive", "active", "rr"] = "passive"
    """Which of several links carries the messages."""
    crypto_cipher: Literal["aes256", "aes192", "aes128", "none"] = "aes256"
    crypto_hash: Literal["sha256", "sha384", "sha512", "sha1", "md5", "none"] = "sha256"
    port: Annotated[int, Field(ge=1, le=65535 - MOST_LINKS)] = 5405
    """Of the first link; the next ones count on from there."""
    token: Annotated[int, Field(ge=100, le=600_000)] | None = None
    """Milliseconds until a silent node is lost; corosync's own default where it is left out."""
    token_coefficient: Annotated[int, Field(ge=0, le=60_000)] | None = None
    """Milliseconds more for each node beyond the second."""
    token_retransmits_before_loss_const: Annotated[int, Field(ge=1, le=1000)] | None = None
    join: Annotated[int, Field(ge=10, le=600_000)] | None = None
    consensus: Annotated[int, Field(ge=100, le=1_200_000)] | None = None
    """Milliseconds to agree on the members: at least 1.2 times token."""
    max_messages: Annotated[int, Field(ge=1, le=10_000)] | None = None
    netmtu: Annotated[int, Field(ge=576, le=65_500)] | None = None
    ip_version: Literal["ipv4", "ipv6", "ipv4-6", "ipv6-4"] | None = None
    """How names among the addresses resolve."""
    compression: Literal["none", "zlib"] = "none"
    compression_level: Annotated[int, Field(ge=-1, le=9)] | None = None
    compression_threshold: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Bytes below which nothing is compressed."""
    links: Annotated[tuple[RingLink, ...], Field(strict=False)] = ()
    """Options of single links."""
    start_at_boot: bool | None = None
    """Start the node's services with it; left out, the node's administrator decides."""

    @property
    def encrypted(self) -> bool:
        """True where nodes need the cluster's key."""
        return self.crypto_hash != "none"

    @property
    def totem_options(self) -> dict[str, int | str]:
        """Options of totem besides those that every cluster has, by corosync's names."""
        names = ("token", "token_coefficient", "token_retransmits_before_loss_const", "join", "consensus")
        found = {name: getattr(self, name) for name in (*names, "max_messages", "netmtu", "ip_version")}
        if self.compression != "none":
            found |= {"knet_compression_model": self.compression}
            found |= {"knet_compression_level": self.compression_level}
            found |= {"knet_compression_threshold": self.compression_threshold}
        return {name: value for name, value in found.items() if value is not None}

    def find_link(self, number: int) -> RingLink:
        """The options of a link."""
        return next((link for link in self.links if link.number == number), RingLink.model_construct(number=number))

    def find_port(self, number: int) -> int:
        """The UDP port of a link."""
        return self.find_link(number).port or self.port + number

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        token = 3000 if self.token is None else self.token
        if self.consensus is not None and self.consensus < token * 1.2:
            raise ValueError(f"consensus = {self.consensus} must be at least 1.2 times token: {int(token * 1.2)}")
        if self.compression == "none" and (self.compression_level, self.compression_threshold) != (None, None):
            raise ValueError("compression-level and compression-threshold need compression")
        knet = [key for key, said in (("links", self.links), ("compression", self.compression != "none")) if said]
        if self.transport != "knet" and knet:
            raise ValueError(f"{knet[0]} is of transport knet, and transport is {self.transport}")
        return self


class Node(SiteTable):
    """One member."""

    name: NodeName
    """As `uname -n` tells it."""
    id: Annotated[int, Field(ge=1, le=2**31 - 1)]
    addresses: Annotated[tuple[Address, ...], Field(strict=False, min_length=1, max_length=MOST_LINKS)]
    """One for each link, in the same order on every node."""
    votes: Annotated[int, Field(ge=0, le=255)] = 1
    attributes: dict[OptionName, CrmValue] = Field(default_factory=dict)
    """Facts that rules can ask for, such as the rack."""
    utilization: dict[OptionName, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Capacity by name; resources say what they take."""

    @field_validator("attributes")
    @classmethod
    def _are_no_state(cls, value: dict[str, Any]) -> dict[str, Any]:
        if found := next((name for name in value if name in ("standby", "maintenance")), ""):
            raise ValueError(f"{found} is a node's state, which crm node sets: bootstrap would set it again and again")
        refuse_secrets(value)
        return value


class RemoteNode(SiteTable):
    """A machine that runs resources and is no member: pacemaker reaches it by a daemon of its own."""

    name: NodeName
    address: HostName | None = None
    """Where pacemaker reaches it; left out, where its name leads."""
    guest: bool = False
    """A virtual machine that a resource of extra starts, by its meta attribute remote-node."""
    reconnect_interval: Duration = "60s"

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        if self.guest and self.address:
            raise ValueError(
                f"remote node {self.name}: a guest's address is its resource's, meta remote-addr: leave address out"
            )
        return self


class Logging(SiteTable):
    """Where the daemons' messages go."""

    facility: Annotated[str, Field(pattern=r"^(local[0-7]|daemon)$")] = "local7"
    file: AbsolutePath = "/var/log/corosync.log"
    debug: bool = False


class Dlm(SiteTable):
    """The lock manager."""

    options: dict[str, DlmValue] = Field(default_factory=_make_dlm_options)
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

    name: FileSystemName
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


class Lvm(SiteTable):
    """Volume groups that several nodes use at once, which lvmlockd guards by DLM."""

    shared: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
    """A service that names one activates it on one node; the others are active on every node."""


class Alert(SiteTable):
    """A program that pacemaker calls when something happens."""

    name: Identifier
    path: AbsolutePath
    """On every node."""
    recipients: Annotated[tuple[CrmValue, ...], Field(strict=False)] = ()
    options: dict[OptionName, CrmValue] = Field(default_factory=dict)
    """Settings in its environment."""
    timeout: Duration | None = None
    events: Annotated[tuple[Literal["nodes", "fencing", "resources"], ...], Field(strict=False)] = ()
    """Left out: all of them."""

    @field_validator("options")
    @classmethod
    def _tells_no_secret(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_secrets(value)
        return value


class Crm(SiteTable):
    """Properties of pacemaker besides."""

    properties: dict[OptionName, CrmValue] = Field(default_factory=dict)
    """Of the cluster, such as maintenance-mode."""
    resource_defaults: dict[OptionName, CrmValue] = Field(default_factory=dict)
    """Meta attributes of every resource that does not say otherwise, such as resource-stickiness."""
    operation_defaults: dict[OptionName, CrmValue] = Field(default_factory=dict)
    """Of every operation that does not say otherwise, such as timeout."""
    extra: str = ""
    """Lines for crm configure."""

    @field_validator("properties")
    @classmethod
    def _leaves_fencing_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        if "stonith-enabled" in value or "fencing-enabled" in value:
            raise ValueError("stonith-enabled follows from [fencing]: name devices there, or opt-out")
        refuse_secrets(value)
        return value

    @field_validator("extra")
    @classmethod
    def _is_todays(cls, value: str, info: ValidationInfo) -> str:
        return check_extra(value, (info.context or {}).get(FIRST_LINE, 1))
