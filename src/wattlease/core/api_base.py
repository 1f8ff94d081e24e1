"""What every resource is made of: names, units and the way a mistake is told.

Watts, seconds and watt-hours are whole numbers, percents and prices are numbers; the field's name ends in its unit.
Bounds are inclusive, because an API server's schema knows no numeric `exclusiveMinimum`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

API_VERSION = "wattlease.io/v1alpha1"

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Watts = Annotated[int, Field(ge=1, le=100_000_000_000)]
"""A power of at least one watt; the top, 100 GW, catches a number in milliwatts."""

Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
SomeSeconds = Annotated[int, Field(ge=1, le=31_536_000)]
Percent = Annotated[float, Field(ge=0, le=100)]
SomePercent = Annotated[float, Field(ge=1, le=100)]
Price = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
Pattern = Annotated[str, Field(min_length=1, max_length=253)]


class Part(BaseModel):
    """A frozen piece of a resource: camelCase outside, snake_case inside, no field that is not known."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Metadata(Part):
    """What a resource is called."""

    name: Name
    """A DNS label: lower case letters, digits and dashes, at most 63."""

    namespace: Name | None = None
    """Namespace in Kubernetes; PowerBudget and PowerShare have none."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Labels, for people and selectors."""

    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations; Wattlease ignores them."""


class Resource(Part):
    """The envelope that Kubernetes gives to every object."""

    api_version: str = Field(default=API_VERSION, pattern=r"^wattlease\.io/v1alpha1$")
    """Always `wattlease.io/v1alpha1`."""

    metadata: Metadata
    """Name, namespace and labels."""

    @property
    def name(self) -> str:
        """The resource's name, by which others refer to it."""
        return self.metadata.name


def mistake(at: tuple[str | int, ...], text: str) -> PydanticCustomError:
    """An error of several fields together, told at the one (below the validated part) that is to be changed."""
    # pydantic_core formats the template with str.format-like braces: the text travels as a value, never as template
    return PydanticCustomError("mistake", "{text}", {"text": text, "at": at})


def refuse_twins(field: str, names: Iterable[str]) -> None:
    """Raise a mistake if two entries of a list have one name."""
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            raise mistake((field, i, "name"), f"'{name}' is used twice in {field}; give each entry a name of its own")
        seen.add(name)
