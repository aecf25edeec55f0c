"""Votes in a site file: which part of a split cluster goes on, and the third machine that helps to decide."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from hapkg.site.tables import SiteTable
from hapkg.site.words import HostName, Identifier, Port

Milliseconds = Annotated[int, Field(ge=1, le=3_600_000)]


class Heuristics(SiteTable):
    """Programs that say whether a node is of use; the part of the cluster where they succeed is preferred."""

    mode: Literal["on", "sync", "off"] = "on"
    interval: Milliseconds | None = None
    timeout: Milliseconds | None = None
    sync_timeout: Milliseconds | None = None
    exec: Annotated[dict[Identifier, str], Field(min_length=1)]
    """Commands by name: whole paths, with arguments."""

    @field_validator("exec")
    @classmethod
    def _are_commands(cls, value: dict[str, str]) -> dict[str, str]:
        for name, command in value.items():
            if not re.fullmatch(r"/[^\x00-\x1f{}]+", command) or not command.isascii():
                raise ValueError(f"{name}: {command!r} must be the path of a program with its arguments, without {{ }}")
        return value


class QuorumDevice(SiteTable):
    """corosync-qdevice: the vote of a machine outside the cluster, where corosync-qnetd runs."""

    model: Literal["net"] = "net"
    host: HostName
    port: Port = 5403
    algorithm: Literal["ffsplit", "lms"] = "ffsplit"
    """ffsplit gives its vote to one half, lms to the last node of all."""
    tls: Literal["on", "off", "required"] = "on"
    tie_breaker: Literal["lowest", "highest"] = "lowest"
    timeout: Milliseconds | None = None
    sync_timeout: Milliseconds | None = None
    heuristics: Heuristics | None = None


class Quorum(SiteTable):
    """Votes."""

    two_node: bool | None = None
    """One node of two goes on alone; left out, true for a cluster of two without a device."""
    wait_for_all: bool | None = None
    """All nodes are waited for at the first start; of itself where one of two goes on alone."""
    auto_tie_breaker: Literal["lowest", "highest"] | None = None
    """Of two halves the one with this node goes on."""
    last_man_standing: bool = False
    """Nodes that are lost one after the other no longer count."""
    last_man_standing_window: Milliseconds | None = None
    device: QuorumDevice | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.device and self.two_node:
            raise ValueError("two-node beside a device: the device decides, leave two-node out")
        for key, said in (("auto-tie-breaker", self.auto_tie_breaker), ("last-man-standing", self.last_man_standing)):
            if self.device and said:
                raise ValueError(f"{key} beside a device: the device decides, leave {key} out")
        if self.two_node and self.auto_tie_breaker:
            raise ValueError("auto-tie-breaker beside two-node: one of two nodes goes on alone anyway, leave one out")
        if self.last_man_standing_window and not self.last_man_standing:
            raise ValueError("last-man-standing-window needs last-man-standing = true")
        return self

    def count_device_votes(self, nodes: int) -> int:
        """Votes of the device in a cluster of so many nodes."""
        if self.device is None:
            return 0
        return 1 if self.device.algorithm == "ffsplit" else max(1, nodes - 1)
