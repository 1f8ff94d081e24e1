"""Where a cluster leases its part of a larger budget."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wattlease.core.api_base import Name, Part

Path = Annotated[str, Field(min_length=1, max_length=4096)]
Address = Annotated[str, Field(pattern=r"^https://[^\s/]+/?$", max_length=300)]


class ShareSettings(Part):
    """Who leases the cluster its watts, and by what the cluster is known there."""

    cluster: Name
    """The cluster's name, as in its certificate and in the facility's PowerShare."""

    grantors: Annotated[tuple[Address, ...], Field(min_length=1, max_length=8)]
    """The facility, and its standby where there is one, such as `https://facility:8943`."""

    authority: Path
    """The authority that signed the facility's certificate, PEM."""

    certificate: Path
    """The cluster's own certificate, PEM (`wattlease pki node --cluster`)."""

    key: Path
    """Its key, PEM."""
