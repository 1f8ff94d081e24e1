"""Keeps the roster on disk beside the event loop; who is not yet on it is granted nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from wattlease.core.lease import Ledger
from wattlease.runtime.lease.said import Said
from wattlease.runtime.lease.store import RosterStore

RETRY_S = 2.0

log = logging.getLogger(__name__)


class Saver:
    """Saves the newest revision whenever there is one, one save at a time.

    A full disk is said once; whoever is on disk already goes on, and nobody new is granted anything.
    """

    def __init__(self, store: RosterStore) -> None:
        self._store = store
        self._said = Said(log)
        self._saving: asyncio.Task[None] | None = None
        self.trouble = ""

    async def save(self, ledger: Ledger) -> bool:
        """Save the revision of now; say whether it is on disk."""
        revision, roster = ledger.revision, ledger.roster()
        refused = await asyncio.to_thread(self._store.save, roster, ledger.epoch)
        if refused is None:
            ledger.note_saved(revision)
            if self._said.forget("roster not saved"):
                log.info("roster saved again: revision=%d", revision)
            self.trouble = ""
            return True
        self.trouble = refused.reason
        self._said.once(
            logging.ERROR, "roster not saved", f"{refused.reason}; who is new is granted nothing until it is"
        )
        return False

    def follow(self, ledger: Ledger, on_saved: Callable[[], None]) -> None:
        """See to it that what changed is saved soon; costs nothing where nothing did."""
        if ledger.revision > ledger.saved_revision and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(self._catch_up(ledger, on_saved))

    async def _catch_up(self, ledger: Ledger, on_saved: Callable[[], None]) -> None:
        while ledger.revision > ledger.saved_revision:
            if await self.save(ledger):
                on_saved()
            else:
                await asyncio.sleep(RETRY_S)

    def stop(self) -> None:
        """Save no more for a ledger that leads no more."""
        if self._saving is not None:
            self._saving.cancel()
            self._saving = None
