"""The tables of a site file, each by itself. docs/site.md is the reference of the keys."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from hapkg.errors import did_you_mean
from hapkg.recipe.settings import Table
from hapkg.site.extra import check_extra
from hapkg.site.secrets import refuse_secrets
from hapkg.site.words import (
    AbsolutePath,
    Address,
    ClusterName,
    CrmValue,
    DlmValue,
    FileSystemName,
    NodeName,
    OptionName,
    Word,
)

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
    """Those of the tutorial: a log of its own, with what happens."""
    return {"log_debug": 1, "debug_logfile": 1}


class SiteTable(Table):
    """A table of the site file."""

    reference: ClassVar[str] = "docs/site.md"


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
    start_at_boot: bool | None = None
    """Start the node's services with it; left out, the node's administrator decides."""

    @property
    def encrypted(self) -> bool:
        """True where nodes need the cluster's key."""
        return self.crypto_hash != "none"


class Node(SiteTable):
    """One member."""

    name: NodeName
    """As `uname -n` tells it."""
    id: Annotated[int, Field(ge=1, le=2**31 - 1)]
    addresses: Annotated[tuple[Address, ...], Field(strict=False, min_length=1, max_length=MOST_LINKS)]
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


class Crm(SiteTable):
    """Properties of pacemaker besides."""

    properties: dict[OptionName, CrmValue] = Field(default_factory=dict)
    """Of the cluster, such as maintenance-mode."""
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
