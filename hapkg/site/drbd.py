"""The tables of replicated block devices in a site file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from hapkg.site.secrets import refuse_secrets
from hapkg.site.tables import MOST_LINKS, SiteTable
from hapkg.site.words import DrbdValue, Identifier, MetaDisks, Name, Paths, Port

_OWN = {
    "protocol": "say protocol of the resource, one line above net",
    "allow-two-primaries": "say dual-primary = true",
    "fencing": "it follows from [fencing]",
}
"""Options that have a key of their own: written twice, one of the two would win unseen."""
_NO_VOLUME = re.compile(r"/dev/(?!mapper/|md)[^/]+|/dev/disk/by-(?!id/dm-)[a-z]+/.+")
"""A disk that is no logical volume by its name: a whole disk, a partition."""
_MEANS_SOMETHING = ("all", "common", "default", "global", "none")

OptionName = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
Options = dict[OptionName, DrbdValue]


class Volume(SiteTable):
    """One block device of a DRBD resource."""

    number: Annotated[int, Field(ge=0, le=65535)]
    minor: Annotated[int, Field(ge=0, le=1_048_575)]
    """/dev/drbdMINOR."""
    disk: Paths
    """One for all nodes, or a table by node."""
    meta_disk: MetaDisks = "internal"

    @property
    def disks(self) -> tuple[str, ...]:
        """Disks that belong to DRBD alone, on whichever node."""
        paths = [*_list(self.disk), *_list(self.meta_disk)]
        return tuple(dict.fromkeys(path for path in paths if path != "internal"))

    @property
    def device(self) -> str:
        """Device that is mounted."""
        return f"/dev/drbd{self.minor}"

    @property
    def by_node(self) -> bool:
        """True where it lies on another disk from node to node."""
        return not (isinstance(self.disk, str) and isinstance(self.meta_disk, str))

    def find_disk(self, node: str) -> str:
        """The disk beneath it on a node."""
        return self.disk if isinstance(self.disk, str) else self.disk[node]

    def find_meta_disk(self, node: str) -> str:
        """Where its meta-data is on a node."""
        return self.meta_disk if isinstance(self.meta_disk, str) else self.meta_disk[node]

    def list_disks(self, node: str) -> tuple[str, ...]:
        """Disks that it takes on one node."""
        meta = self.find_meta_disk(node)
        return (self.find_disk(node),) if meta == "internal" else (self.find_disk(node), meta)

    def check_nodes(self, where: str, nodes: tuple[str, ...]) -> None:
        """Raise ValueError where a table of disks does not name exactly the nodes of its resource."""
        for key, value in (("disk", self.disk), ("meta-disk", self.meta_disk)):
            if isinstance(value, Mapping) and set(value) != set(nodes):
                told = ", ".join(value)
                raise ValueError(f"{where}: {key} names {told}, and the resource joins {', '.join(nodes)}")


class Drbd(SiteTable):
    """One DRBD resource."""

    name: Identifier
    nodes: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Left out: all nodes of the cluster."""
    link: Annotated[int, Field(ge=0, lt=MOST_LINKS)] = 0
    """Which address of its nodes it uses."""
    port: Port = 7789
    protocol: Literal["A", "B", "C"] = "C"
    module: Literal["8.4", "9"] = "8.4"
    """Series of the kernel's module; Debian's kernel brings 8.4."""
    dual_primary: bool = False
    authenticate: bool = False
    """Peers prove that they know a secret, which `ha-stack keygen` makes on a node."""
    snapshots: bool = False
    """The target of a resync takes an LVM snapshot first; its volume group needs the space."""
    net: Options = Field(default_factory=dict)
    disk: Options = Field(default_factory=dict)
    options: Options = Field(default_factory=dict)
    """Of the resource, with a module of series 9: quorum and its like."""
    volumes: Annotated[tuple[Volume, ...], Field(strict=False, min_length=1)]

    @field_validator("name")
    @classmethod
    def _means_nothing_else(cls, value: str) -> str:
        if value in _MEANS_SOMETHING:
            raise ValueError(f"{value!r} means something to drbdadm: choose another name")
        return value

    @field_validator("net", "disk", "options")
    @classmethod
    def _says_nothing_twice(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_secrets(value)
        for name, instead in _OWN.items():
            if name in value:
                raise ValueError(f"{name} would stand there twice: {instead}")
        return value

    @model_validator(mode="after")
    def _fits_its_module(self) -> Self:
        where = f"DRBD resource {self.name}"
        if self.options and self.module != "9":
            raise ValueError(f"{where}: options are of module 9 ({', '.join(self.options)})")
        if self.snapshots:
            paths = [path for volume in self.volumes for path in _list(volume.disk)]
            if plain := next((path for path in paths if _NO_VOLUME.fullmatch(path)), None):
                raise ValueError(
                    f"{where}: snapshots = true takes snapshots of LVM, and {plain} is no logical volume: "
                    "leave snapshots out, or name /dev/GROUP/VOLUME"
                )
        return self

    @property
    def quorum_options(self) -> dict[str, str | int | bool]:
        """Options of the resource, with those that three nodes need: who is in the minority does not write."""
        return {"quorum": "majority", "on-no-quorum": "io-error", **self.options}


def _list(paths: str | Mapping[str, str]) -> Iterator[str]:
    if isinstance(paths, str):
        yield paths
    else:
        yield from paths.values()
