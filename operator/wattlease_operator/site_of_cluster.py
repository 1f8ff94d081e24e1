"""From the cluster's objects to a controller's settings, and what could not be taken up, in words.

Pure. A budget or profile that does not parse, or does not fit between the others, is refused and its last good form
stands: the limit of a part of the feed does not vanish by a slip of the hand. A node is never refused: one that cannot
be understood counts at the most it may draw.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from wattlease.core.api import PowerBudget, PowerProfile, TreeMistake, tree_mistakes
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.controller.settings import Listen as ControllerListen
from wattlease.runtime.site_words import Group
from wattlease.runtime.zones import zone
from wattlease_operator.cache import Body, Key, key_of
from wattlease_operator.nodes import Refusal, groups_of
from wattlease_operator.scopes import budget_of_nodes
from wattlease_operator.settings import OperatorSettings

Model = TypeVar("Model", PowerBudget, PowerProfile)

NO_LISTENER = ControllerListen(secret_file="none")
"""The operator listens by its own settings; those of a controller want an entry."""


@dataclass(frozen=True, slots=True)
class Good:
    """The last good form of each budget and profile, by namespace and name."""

    budgets: Mapping[Key, PowerBudget] = field(default_factory=dict)
    profiles: Mapping[Key, PowerProfile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterSite:
    """`settings` is None while nothing can be governed; `waits` says why. `good` is for the next call."""

    settings: ControllerSettings | None
    waits: str
    refusals: tuple[Refusal, ...]
    good: Good


def site_of_cluster(
    settings: OperatorSettings,
    nodes: Iterable[Body],
    budgets: Iterable[Body],
    profiles: Iterable[Body],
    good: Good = Good(),
) -> ClusterSite:
    """What the objects say now, where they are whole and fit together, and else what they said last."""
    refusals: list[Refusal] = []
    budgets_good = _parsed(budgets, PowerBudget, good.budgets, refusals)
    profiles_good = _parsed(profiles, PowerProfile, good.profiles, refusals)
    tree = _tree(settings, list(budgets_good.values()), good.budgets, refusals)
    now = Good({("", b.name): b for b in tree} if tree else budgets_good, profiles_good)
    if not tree:
        waits = refusals[-1].text if refusals else "there is no PowerBudget yet; nodes stay at their fallbacks"
        return ClusterSite(None, waits, tuple(refusals), Good(budgets_good, profiles_good))
    bodies = sorted(nodes, key=key_of)
    groups = groups_of(settings, bodies, budget_of_nodes(tree, bodies, settings.cluster), refusals)
    if not groups:
        told = f"no node with {settings.gpu_resource} stands under '{tree[0].name}' yet"
        return ClusterSite(None, told, tuple(refusals), now)
    try:
        site = _settings(settings, tree, groups, [profiles_good[key] for key in sorted(profiles_good)])
    except ValidationError as error:
        return ClusterSite(None, _first(error), tuple(refusals), now)
    return ClusterSite(site, "", tuple(refusals), now)


def _settings(
    settings: OperatorSettings,
    budgets: Sequence[PowerBudget],
    groups: tuple[Group, ...],
    profiles: Sequence[PowerProfile],
) -> ControllerSettings:
    """ValidationError where they do not fit together, such as a battery where the facility has the batteries."""
    return ControllerSettings(
        name=settings.cluster,
        groups=groups,
        budgets=tuple(budgets),
        profiles=tuple(profiles),
        listen=NO_LISTENER,
        share=settings.share,
        page=settings.page,
        state_folder=settings.state_folder,
        record_folder=settings.record_folder,
        tick_seconds=settings.tick_seconds,
        grant_seconds=settings.grant_seconds,
    )


def _parsed(
    bodies: Iterable[Body], model: type[Model], good: Mapping[Key, Model], refusals: list[Refusal]
) -> dict[Key, Model]:
    """Each object as a value; the last good one where it is none, and nothing where it never was one."""
    found: dict[Key, Model] = {}
    for body in bodies:
        key = key_of(body)
        try:
            found[key] = _model(body, model)
        except ValidationError as error:
            text = _first(error)
        except ValueError as error:
            text = str(error)
        else:
            continue
        if key in good:
            found[key], text = good[key], f"{text}; its last good form stands"
        refusals.append(Refusal(model.__name__, *key, text))
    return found


def _first(error: ValidationError) -> str:
    """The first mistake, at its field."""
    first = error.errors(include_url=False, include_input=False)[0]
    at = ".".join(str(part) for part in (*first["loc"], *first.get("ctx", {}).get("at", ())))
    return f"{at}: {first['msg'].removeprefix('Value error, ')}"


def _model(body: Body, model: type[Model]) -> Model:
    """ValidationError or ValueError where it is none. Labels and notes of others are no part of it."""
    meta = {k: v for k, v in body["metadata"].items() if k in ("name", "namespace")}
    whole = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": meta, "spec": body.get("spec")}
    for name in sorted(set(_zones(whole["spec"]))):
        if not zone(name):
            raise ValueError(f"spec: {name!r} is no time zone; write a name such as Europe/Berlin")
    return model.model_validate_json(json.dumps(whole), strict=True, by_alias=True, by_name=False)


def _zones(value: object) -> Iterable[str]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            if key == "timeZone" and isinstance(below, str):
                yield below
            yield from _zones(below)
    elif isinstance(value, list):
        for below in value:
            yield from _zones(below)


def _tree(
    settings: OperatorSettings,
    budgets: Sequence[PowerBudget],
    good: Mapping[Key, PowerBudget],
    refusals: list[Refusal],
) -> Sequence[PowerBudget]:
    """The budgets below the cluster's root, once they keep each other's promises; until then those that last did."""
    left, mistakes = list(budgets), tree_mistakes(budgets)
    if mistakes:
        left = [good[key] for b in budgets if (key := ("", b.name)) in good] or left
    while wrong := tree_mistakes(left):
        del left[wrong[0].index]
    refusals.extend(_refused(budgets, mistakes, left))
    roots = [b.name for b in left if b.spec.parent is None]
    wanted = settings.root_budget or (roots[0] if len(roots) == 1 else None)
    if wanted in roots:
        return [b for b in left if wanted in _ways(b, left)]
    if left:
        named = f"rootBudget '{wanted}' is not among" if wanted else "rootBudget must name one of"
        told = f"{named} the budgets without parent: {', '.join(roots)}"
        refusals.append(Refusal("PowerBudget", "", wanted or roots[0], told))
    return []


def _refused(
    budgets: Sequence[PowerBudget], mistakes: Sequence[TreeMistake], left: Sequence[PowerBudget]
) -> Iterator[Refusal]:
    """What is wrong, at each budget that is to be changed; and what else of news must wait for it."""
    told = {budgets[m.index].name: f"{'.'.join(m.at)}: {m.text}" for m in reversed(mistakes)}
    stands = {b.name: b for b in left}
    for budget in budgets:
        text, instead = told.get(budget.name, ""), stands.get(budget.name)
        if not text and instead != budget:
            text = f"is not taken up while PowerBudget {', '.join(sorted(told))} is wrong"
        if text:
            other = instead is not None and instead != budget
            yield Refusal("PowerBudget", "", budget.name, text + ("; its last good form stands" if other else ""))


def _ways(budget: PowerBudget, budgets: Sequence[PowerBudget]) -> tuple[str, ...]:
    """Its name and those of all above it."""
    parent = {b.name: b.spec.parent for b in budgets}
    way = [budget.name]
    while (above := parent.get(way[-1])) is not None:
        way.append(above)
    return tuple(way)
