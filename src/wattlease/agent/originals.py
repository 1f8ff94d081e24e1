"""The limits that cards had before Wattlease: on disk before the first write, given back only by an uninstall.

Rule 1: what is on disk is never overwritten: the limit that a later start finds may be our own cap.
Rule 2: a card whose original is not on disk is not written to.
Rule 3: a card on disk that is not in the node any more may still draw; it counts until it is forgotten on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wattlease.agent.cards import Card, Trouble
from wattlease.runtime.lease.disk import replace_file

Watts = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Original(BaseModel):
    """A card as first met, and its limit then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=0)
    model: str
    min_w: Watts
    max_w: Watts
    default_w: Watts
    limit_w: Watts

    @classmethod
    def of(cls, card: Card, limit_w: float) -> Original:
        """What to remember of a card."""
        return cls(
            index=card.index,
            model=card.model,
            min_w=card.min_w,
            max_w=card.max_w,
            default_w=card.default_w,
            limit_w=limit_w,
        )

    def card(self, uuid: str) -> Card:
        """The card that it was."""
        return Card(uuid, self.index, self.model, self.min_w, self.max_w, self.default_w)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(1, ge=1, le=1)
    cards: dict[str, Original] = {}


class Originals:
    """The file of original limits. One that cannot be read is trouble, and then no card is written to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble: Trouble | None = None
        self._kept: dict[str, Original] = {}
        try:
            self._kept = dict(_File.model_validate_json(path.read_bytes()).cards)
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as error:
            self.trouble = Trouble(
                f"{path}: original limits cannot be read ({_short(error)}), so no limit is written; put the file "
                f"right, or remove it if every card has its original limit now"
            )

    @property
    def kept(self) -> Mapping[str, Original]:
        """What is on disk, by the card's uuid."""
        return self._kept

    def keep(self, found: Mapping[str, Original]) -> Trouble | None:
        """Have these on disk too before this returns; those that are there already stay as they are."""
        new = {uuid: original for uuid, original in found.items() if uuid not in self._kept}
        return self._save({**self._kept, **new}) if new else self.trouble

    def forget(self, uuids: Iterable[str]) -> Trouble | None:
        """Take cards off the file: they got their original limits back, or have left the node for good."""
        gone = frozenset(uuids)
        return self._save({uuid: original for uuid, original in self._kept.items() if uuid not in gone})

    def _save(self, cards: dict[str, Original]) -> Trouble | None:
        if self.trouble and not self._kept and self.path.exists():
            return self.trouble  # a file that was not understood is not overwritten
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, _File(cards=cards).model_dump_json(indent=1).encode())
        except OSError as error:
            return Trouble(
                f"{self.path}: original limits cannot be saved ({_short(error)}), so the limits of cards that are "
                f"not in it stay as they are; make room there or let the agent write there"
            )
        self._kept = cards
        self.trouble = None
        return None


def _short(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]
