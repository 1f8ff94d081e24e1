"""The agent's parts, made by its settings. Nothing here asks a card or a network for anything."""

from __future__ import annotations

from wattlease.agent.cards import Driver
from wattlease.agent.hands import Hands
from wattlease.agent.originals import Originals
from wattlease.agent.settings import AgentSettings
from wattlease.core.errors import BudgetError
from wattlease.runtime.lease.grantors import Grantors, token_file
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.tls import TlsFiles

REACTION = 6
"""A fall takes this many patiences where drivers hang (`hands.REACTION_S`)."""


def driver(settings: AgentSettings) -> Driver:
    """The GPUs; the binding of NVML is loaded only where it is wanted, and numpy only for virtual ones."""
    if settings.virtual_gpus:
        from wattlease.agent.virtual import Virtual

        return Virtual(settings.virtual_gpus)
    try:
        from wattlease.agent.nvml import Nvml
    except ImportError as error:
        raise BudgetError(f"backend nvml: {error}; install wattlease[agent], or write backend: virtual") from error
    return Nvml()


def hands(settings: AgentSettings, originals: Originals, *, writes: bool = True) -> Hands:
    """The hands on those GPUs."""
    return Hands(driver(settings), originals, settings.beside, writes=writes, patience_s=settings.patience_seconds)


def reaction_s(settings: AgentSettings) -> float:
    """How long before a grant's end the node begins to give it up."""
    return REACTION * settings.patience_seconds


def make_virtual_cards(settings: AgentSettings) -> None:
    """Make the file of virtual GPUs where it is missing and the settings say what to put in it; raises BudgetError."""
    path, cards = settings.virtual_gpus, settings.virtual_cards
    if path is None or cards is None or path.exists():
        return
    from wattlease.agent.virtual_state import VirtualState, virtual_cards

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        VirtualState.create(path, virtual_cards(settings.node, cards.model, cards.count))
    except OSError as error:
        raise BudgetError(f"virtualGpus: {path}: {error.strerror}; write a path where the agent may write") from error


def grantors(settings: AgentSettings) -> Grantors:
    """Whom the lease is renewed with, and as whom; raises BudgetError where the secret cannot be used."""
    if settings.secret_file:
        try:
            token = SharedSecret(settings.secret_file.read_bytes().strip()).token(settings.node)
        except (OSError, ValueError) as error:
            raise BudgetError(f"secretFile: {settings.secret_file}: {error}") from error
        return Grantors(settings.grantors, token=lambda: token)
    files = TlsFiles(settings.authority, settings.certificate, settings.key)
    return Grantors(settings.grantors, files, token_file(settings.token_file) if settings.token_file else None)
