"""The three resources, as everyone else imports them: PowerBudget, PowerProfile, PowerShare."""

from __future__ import annotations

from wattlease.core.api_base import API_VERSION, Metadata, Part, Resource
from wattlease.core.api_budget import Band, Dwell, PowerBudget, PowerBudgetSpec, Ramp, ScopeSpec
from wattlease.core.api_events import DemandCharge, DemandResponse, ScheduleEntry
from wattlease.core.api_grid_events import GridEvents
from wattlease.core.api_meters import Meter
from wattlease.core.api_plant import Breaker, Derate, Feed, Redundancy, TripPoint
from wattlease.core.api_profile import (
    BatchStep,
    Checkpoint,
    CurvePoint,
    JobSelector,
    PowerProfile,
    PowerProfileSpec,
    VariantSpec,
    WorkKind,
)
from wattlease.core.api_share import PowerShare, PowerShareSpec
from wattlease.core.api_storage import Pcs, StorageSpec, SunSpecAddress
from wattlease.core.api_tariff import CarbonCap, Tariff, TariffPeriod
from wattlease.core.api_tree import TreeMistake, check_tree, tree_mistakes

__all__ = [
    "API_VERSION",
    "Band",
    "BatchStep",
    "Breaker",
    "CarbonCap",
    "Checkpoint",
    "CurvePoint",
    "DemandCharge",
    "DemandResponse",
    "Derate",
    "Dwell",
    "Feed",
    "GridEvents",
    "JobSelector",
    "Metadata",
    "Meter",
    "Part",
    "Pcs",
    "PowerBudget",
    "PowerBudgetSpec",
    "PowerProfile",
    "PowerProfileSpec",
    "PowerShare",
    "PowerShareSpec",
    "Ramp",
    "Redundancy",
    "Resource",
    "ScheduleEntry",
    "ScopeSpec",
    "StorageSpec",
    "SunSpecAddress",
    "Tariff",
    "TariffPeriod",
    "TreeMistake",
    "TripPoint",
    "VariantSpec",
    "WorkKind",
    "check_tree",
    "tree_mistakes",
]
