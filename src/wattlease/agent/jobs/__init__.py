"""Which job holds which GPU: what one source tells, and how several sources become one answer per card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from wattlease.agent.cards import Card


@dataclass(frozen=True, slots=True)
class Holding:
    """A job holds a device, under the name that its source gives to devices.

    `replica` tells time slices of one device apart, `owner` is the job's user id; both `None` where the source does
    not tell.
    """

    job: str
    device: str
    replica: str | None = None
    owner: int | None = None


def device_names(cards: Iterable[Card]) -> dict[str, str]:
    """Every name by which a source may call a device, to the uuid of its card or MIG instance.

    Beside the uuid a card has the driver's index, as Slurm and dcgm-exporter write it, and with it the names of the
    DRA driver (`gpu-0`) and of Google's plugin (`nvidia0`). Those two count device minors; they agree with the index
    unless cards were hidden from the driver.
    """
    names: dict[str, str] = {}
    for card in cards:
        aliases = (card.uuid, str(card.index), f"gpu-{card.index}", f"nvidia{card.index}")
        names.update(dict.fromkeys(aliases, card.uuid))
        names.update({uuid: uuid for uuid, _ in card.slices})
    return names


def held_by_card(cards: Sequence[Card], *sources: Iterable[Holding]) -> dict[str, tuple[Holding, ...]]:
    """The holdings of each card, devices by uuid, from the first source that tells anything about that card."""
    names = device_names(cards)
    told = [[replace(held, device=names[held.device]) for held in known if held.device in names] for known in sources]
    return {card.uuid: _first(card, told) for card in cards}


def strangers(cards: Iterable[Card], holdings: Iterable[Holding]) -> tuple[str, ...]:
    """Devices that are no card of this node: a name that we cannot read, or a card that is gone."""
    names: Mapping[str, str] = device_names(cards)
    return tuple(sorted({held.device for held in holdings if held.device not in names}))


def _first(card: Card, told: Iterable[Iterable[Holding]]) -> tuple[Holding, ...]:
    devices = {card.uuid, *(uuid for uuid, _ in card.slices)}
    for known in told:
        here = tuple(held for held in known if held.device in devices)
        if here:
            return here
    return ()
