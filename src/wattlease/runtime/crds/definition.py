"""A custom resource definition of each resource, as plain values and as YAML."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import yaml

from wattlease.core.api import API_VERSION, PowerBudget, PowerProfile, PowerShare, Resource
from wattlease.core.api_base import DNS_LABEL
from wattlease.runtime.crds.rules import RULES
from wattlease.runtime.crds.status import (
    BUDGET_COLUMNS,
    PROFILE_COLUMNS,
    SHARE_COLUMNS,
    Column,
    PowerBudgetStatus,
    PowerProfileStatus,
    PowerShareStatus,
    Status,
)
from wattlease.runtime.crds.structural import Schema, structural

GROUP, VERSION = API_VERSION.split("/")

HEAD = "# Written by `python -m wattlease.runtime.crds crds/` from the models; change those.\n"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a cluster must know of a resource beside its fields."""

    resource: type[Resource]
    status: type[Status]
    short: str
    scope: Literal["Cluster", "Namespaced"]
    columns: tuple[Column, ...]

    @property
    def plural(self) -> str:
        """The resource's name in URLs, and of its file."""
        return f"{self.resource.__name__.lower()}s"

    def document(self) -> dict[str, Any]:
        """The whole CustomResourceDefinition."""
        kind = self.resource.__name__
        names = {
            "kind": kind,
            "listKind": f"{kind}List",
            "plural": self.plural,
            "singular": kind.lower(),
            "shortNames": [self.short],
            "categories": ["wattlease"],
        }
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{GROUP}"},
            "spec": {"group": GROUP, "names": names, "scope": self.scope, "versions": [self._version()]},
        }

    def text(self) -> str:
        """The same in YAML."""
        return HEAD + yaml.dump(
            self.document(), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True, default_flow_style=False
        )

    def schema(self) -> Schema:
        """The structural schema of the whole object."""
        rules = {part.__name__: rules for part, rules in RULES.items()}
        spec = structural(self.resource, rules)["properties"]["spec"]
        name = {"type": "string", "maxLength": 63, "pattern": DNS_LABEL}
        return {
            "type": "object",
            "description": " ".join((self.resource.__doc__ or "").split()),
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object", "properties": {"name": name}},
                "spec": spec,
                "status": _conditions_by_type(structural(self.status, {})),
            },
        }

    def _version(self) -> dict[str, Any]:
        schema = self.schema()
        return {
            "name": VERSION,
            "served": True,
            "storage": True,
            "subresources": {"status": {}},
            "additionalPrinterColumns": [c.schema(_described(schema, c.path)) for c in self.columns],
            "schema": {"openAPIV3Schema": schema},
        }


DEFINITIONS = (
    Definition(PowerBudget, PowerBudgetStatus, "pb", "Cluster", BUDGET_COLUMNS),
    Definition(PowerProfile, PowerProfileStatus, "pp", "Namespaced", PROFILE_COLUMNS),
    Definition(PowerShare, PowerShareStatus, "ps", "Cluster", SHARE_COLUMNS),
)


def _conditions_by_type(status: Schema) -> Schema:
    """Conditions are a map by their type, as everywhere in Kubernetes."""
    conditions = status["properties"]["conditions"]
    conditions |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return status


def _described(schema: Schema, path: str) -> str:
    """The description of the field that a simple path leads to; empty for any other path."""
    fields = path.lstrip(".").split(".")
    below = reduce(lambda node, field: node.get("properties", {}).get(field, {}), fields, schema)
    return str(below.get("description", ""))


class _Plain(yaml.SafeDumper):
    """YAML without anchors: a value that stands in two places is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
