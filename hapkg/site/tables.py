"""The tables of a site file, each by itself. docs/site.md is the reference of the keys."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from hapkg.errors import did_you_mean
from hapkg.recipe.settings import Line, Table
from hapkg.site.secrets import refuse_secret_words, refuse_secrets

_MOST_LINKS = 8
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
    """Start the node's services with it; left out, the node's administrator decides."""

    @property
    def encrypted(self) -> bool:
        """True where nodes need the cluster's key."""
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
    def _tells_no_secret(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        refuse_secrets(value, agent=info.data.get("agent", ""))
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
        """Keys that belong to DRBD alone."""
        return (self.disk,) if self.meta_disk == "internal" else (self.disk, self.meta_disk)

    @property
    def device(self) -> str:
        """Device that is mounted."""
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
    """The target of a resync takes an LVM snapshot first; its volume group needs the space."""
    net: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")], Word | int | bool] = Field(default_factory=dict)
    disk: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")], Word | int | bool] = Field(default_factory=dict)
    volumes: Annotated[tuple[Volume, ...], Field(strict=False, min_length=1)]

    @field_validator("net", "disk")
    @classmethod
    def _tells_no_secret(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_secrets(value)
        return value


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
    """Properties of pacemaker besides."""

    properties: dict[Identifier, Word | int | bool] = Field(default_factory=dict)
    """Of the cluster, such as maintenance-mode."""
    extra: str = ""
    """Lines for crm configure."""

    @field_validator("properties")
    @classmethod
    def _leaves_fencing_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        if "stonith-enabled" in value:
            raise ValueError("stonith-enabled follows from [fencing]: name devices there, or opt-out")
        refuse_secrets(value)
        return value

    @field_validator("extra")
    @classmethod
    def _has_no_properties(cls, value: str) -> str:
        if re.search(r"(?m)^\s*property\b", value):
            raise ValueError("crm takes one line of properties: put them under [crm] properties = { NAME = VALUE }")
        refuse_secret_words(value)
        return value
