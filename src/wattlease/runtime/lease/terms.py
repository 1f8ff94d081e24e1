"""What a grantor holds to: settings of one grantor."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from wattlease.core.lease import DRIFT_FRAC, TTL_S
from wattlease.core.lease.words import Frac, Span, Watts


class GrantTerms(BaseModel):
    """Under what terms a grantor grants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    guaranteed_w: Watts
    """What the site has on its worst day; all fallbacks together should fit in it."""
    ttl_s: Span = TTL_S
    """How long a grant lasts."""
    drift_frac: Frac = DRIFT_FRAC
    """How far two clocks may drift apart."""
    plan_lasts_s: Span = 5.0
    """Past this age of the newest plan nothing is granted or renewed: whoever made it may know of a lower limit."""
    raise_news_w: Watts = 25.0
    """A waiting holder is told of a raise this large at once; of a smaller one when it asks anew."""
    cut_news_w: Watts = 1.0
    """And of a cut larger than this: the plan's rounding shall not wake everyone."""
    wait_max_s: Annotated[float, Field(ge=0.0, le=60.0)] = 2.0
    """The longest that a request waits here."""
