"""Tickets in a site file: which of several clusters runs something is agreed between them by booth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from hapkg.site.tables import SiteTable
from hapkg.site.words import Address, Identifier, Port

_TIMES = ("expire", "acquire_after", "timeout", "retries", "renewal_freq")


class Ticket(SiteTable):
    """A right that one of the clusters has at a time."""

    name: Identifier
    expire: Annotated[int, Field(ge=10)] = 600
    """Seconds until it is lost by a cluster that renews it no more."""
    acquire_after: Annotated[int, Field(ge=0)] | None = None
    timeout: Annotated[int, Field(ge=1)] | None = None
    retries: Annotated[int, Field(ge=3)] | None = None
    renewal_freq: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _is_renewed_in_time(self) -> Self:
        lost = (self.timeout or 5) * ((self.retries or 10) + 1)
        if self.renewal_freq is None and self.expire <= 2 * lost and (self.timeout or self.retries):
            raise ValueError(
                f"ticket {self.name}: expire = {self.expire} must be more than twice timeout * (retries + 1), "
                f"{2 * lost}"
            )
        return self

    @property
    def options(self) -> Iterator[tuple[str, int]]:
        """Its times by booth's names."""
        for name in _TIMES:
            if (value := getattr(self, name)) is not None:
                yield name.replace("_", "-"), value


class Booth(SiteTable):
    """The clusters that agree, and what about. The same for each of them, besides address."""

    address: Address
    """Of this cluster among sites: pacemaker holds it where booth runs."""
    netmask: Annotated[int, Field(ge=1, le=128)] = 24
    sites: Annotated[tuple[Address, ...], Field(strict=False, min_length=2)]
    arbitrators: Annotated[tuple[Address, ...], Field(strict=False)] = ()
    port: Port = 9929
    tickets: Annotated[tuple[Ticket, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.address not in self.sites:
            raise ValueError(f"booth.address {self.address} is none of booth.sites: {', '.join(self.sites)}")
        voters = [*self.sites, *self.arbitrators]
        for what, values in (("address", voters), ("ticket", [ticket.name for ticket in self.tickets])):
            if doubled := next((value for number, value in enumerate(values) if value in values[:number]), None):
                raise ValueError(f"booth: {what} {doubled} stands there twice")
        if len(voters) % 2 == 0:
            raise ValueError(f"booth: {len(voters)} voters can be split into halves: name an arbitrator more, or less")
        return self
