"""Services in a site file: what runs together on one node, and moves to another one together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from hapkg.site.fencing import Operation, write_operations
from hapkg.site.secrets import refuse_secrets
from hapkg.site.tables import SiteTable
from hapkg.site.words import (
    AbsolutePath,
    CrmValue,
    Identifier,
    Name,
    OptionName,
    Word,
    parse_interface,
)

_AGENT = re.compile(r"(ocf:[A-Za-z0-9_.-]+:|systemd:|lsb:|service:)?[A-Za-z0-9_.@-]+")


def _check_agent(value: object) -> str:
    if not isinstance(value, str) or not _AGENT.fullmatch(value):
        raise ValueError(f"{value!r} must be an agent: ocf:PROVIDER:NAME, systemd:UNIT, or NAME of ocf:heartbeat")
    return value if ":" in value else f"ocf:heartbeat:{value}"


ResourceAgent = Annotated[str, BeforeValidator(_check_agent), WithJsonSchema({"type": "string"})]
FloatingAddress = Annotated[str, BeforeValidator(parse_interface), WithJsonSchema({"type": "string"})]
"""ADDRESS/LENGTH of the network."""


class Resource(SiteTable):
    """A program that pacemaker starts, watches and stops by an agent."""

    name: Identifier
    agent: ResourceAgent
    """`nfsserver`, `ocf:pacemaker:ping`, `systemd:haproxy`."""
    parameters: dict[OptionName, CrmValue] = Field(default_factory=dict)
    meta: dict[OptionName, CrmValue] = Field(default_factory=dict)
    op: dict[Identifier, Operation] = Field(default_factory=dict)
    """By the name of the action; it is watched every 30 seconds by itself."""

    @field_validator("parameters")
    @classmethod
    def _tells_no_secret(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_secrets(value)
        return value

    @property
    def operations(self) -> dict[str, dict[str, str]]:
        """Its operations: their times as pacemaker reads them."""
        return write_operations(self.op, "30s")


class Clone(Resource):
    """A program that runs on several nodes at once, on some of them promoted."""

    promotable: bool = False
    promoted_max: Annotated[int, Field(ge=1)] = 1
    clone_meta: dict[OptionName, CrmValue] = Field(default_factory=dict)
    """Attributes of the clone."""

    @model_validator(mode="after")
    def _promotes_or_not(self) -> Self:
        if not self.promotable and self.promoted_max != 1:
            raise ValueError(f"clone {self.name}: promoted-max needs promotable = true")
        return self

    @property
    def all_operations(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Operations; a promotable one is watched in both of its roles, which need different intervals."""
        for name, times in self.operations.items():
            if name == "monitor" and self.promotable:
                yield "monitor", {"role": "Promoted", **times}
                seconds = int(re.sub(r"\D", "", times["interval"]) or 30)
                unit = re.sub(r"\d", "", times["interval"])
                yield "monitor", {"role": "Unpromoted", **times, "interval": f"{seconds + 1}{unit}"}
            else:
                yield name, times

    @property
    def all_meta(self) -> dict[str, object]:
        """Meta attributes of the clone."""
        own: dict[str, object] = {"interleave": True}
        own |= {"promotable": True, "promoted-max": self.promoted_max, "notify": True} if self.promotable else {}
        return {**own, **self.clone_meta}


class Mount(SiteTable):
    """A file system of one node at a time."""

    volume: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*/[0-9]+$")] | None = None
    """RESOURCE/NUMBER of a DRBD volume."""
    device: AbsolutePath | None = None
    """Or a block device that all its nodes reach by other means."""
    mount: AbsolutePath
    type: Literal["ext4", "xfs", "btrfs", "nfs", "nfs4"] = "ext4"
    options: Annotated[tuple[Word, ...], Field(strict=False)] = ("noatime",)

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.volume is None) == (self.device is None):
            raise ValueError(
                f"file system {self.mount} needs volume (of DRBD) or device (shared otherwise), one of them"
            )
        return self


class Service(SiteTable):
    """A service: file systems, programs and addresses in one group, in this order."""

    name: Identifier
    drbd: Identifier | None = None
    """The DRBD resource that is promoted where the service runs; of itself that of its file systems."""
    volume_groups: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Of LVM on shared disks, activated on one node at a time by their system ID."""
    mounts: Annotated[tuple[Mount, ...], Field(strict=False)] = ()
    addresses: Annotated[tuple[FloatingAddress, ...], Field(strict=False)] = ()
    addresses_last: bool = False
    """Clients find nobody before everything runs; else programs find the address when they start."""
    resources: Annotated[tuple[Resource, ...], Field(strict=False)] = ()
    clone: Clone | None = None
    """A program of all nodes; where it is promotable, the addresses follow the promoted one."""
    prefer: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Nodes where it runs if they can, the first one best."""
    meta: dict[OptionName, CrmValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _runs_something(self) -> Self:
        if not (self.group or self.clone):
            raise ValueError(f"service {self.name} has nothing to run: mounts, addresses, resources or a clone")
        if len(self.replicated) > 1:
            raise ValueError(
                f"service {self.name} is on the DRBD resources {', '.join(self.replicated)}: one can be promoted with "
                "it; give one resource several volumes"
            )
        if self.clone and not self.clone.promotable and self.replicated:
            raise ValueError(f"service {self.name}: a clone of all nodes cannot follow the DRBD resource of one")
        return self

    @property
    def replicated(self) -> tuple[str, ...]:
        """DRBD resources that it needs promoted."""
        named = [self.drbd] if self.drbd else []
        return tuple(dict.fromkeys((*named, *(m.volume.partition("/")[0] for m in self.mounts if m.volume))))

    @property
    def group(self) -> tuple[str, ...]:
        """Names of what runs in its group, in order."""
        groups = [f"{self.name}_vg{number}" for number, _ in enumerate(self.volume_groups, 1)]
        mounts = [f"{self.name}_fs{number}" for number, _ in enumerate(self.mounts, 1)]
        addresses = [f"{self.name}_ip{number}" for number, _ in enumerate(self.addresses, 1)]
        programs = [f"{self.name}_{resource.name}" for resource in self.resources]
        last = [*programs, *addresses] if self.addresses_last else [*addresses, *programs]
        return (*groups, *mounts, *last)

    @property
    def ids(self) -> Iterator[str]:
        """Everything that gets a name in pacemaker."""
        if self.group:
            yield self.name
            yield from self.group
        if self.clone:
            yield from (f"{self.name}_{self.clone.name}", f"{self.name}_{self.clone.name}_clone")
