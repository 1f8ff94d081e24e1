"""The three resources, as everyone else imports them: PowerBudget, PowerProfile, PowerShare."""

from __future__ import annotations

from wattlease.core.api_base import API_VERSION, Metadata, Part, Resource
from wattlease.core.api_budget import Band, Dwell, PowerBudget, PowerBudgetSpec, Ramp, ScopeSpec, Tariff
from wattlease.core.api_events import DemandCharge, DemandResponse, ScheduleEntry
from wattlease.core.api_plant import Breaker, Derate, Feed, Meter, Redundancy, StorageSpec, TripPoint
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
from wattlease.core.api_tree import TreeMistake, check_tree, tree_mistakes

__all__ = [
    "API_VERSION",
    "Band",
    "BatchStep",
    "Breaker",
    "Checkpoint",
    "CurvePoint",
    "DemandCharge",
    "DemandResponse",
    "Derate",
    "Dwell",
    "Feed",
    "JobSelector",
    "Metadata",
    "Meter",
    "Part",
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
    "Tariff",
    "TreeMistake",
    "TripPoint",
    "VariantSpec",
    "WorkKind",
    "check_tree",
    "tree_mistakes",
]
