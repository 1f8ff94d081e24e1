"""From what an owner wrote (PowerProfile, percents) to what the core counts with (Terms, fractions)."""

from __future__ import annotations

from wattlease.core.api import PowerProfile
from wattlease.core.curves import from_points
from wattlease.core.model import Step, Terms, Variant


def terms_of(profile: PowerProfile) -> Terms:
    """The profile's terms; without a sweep of the owner's own the library's curve is left to hold."""
    spec = profile.spec
    return Terms(
        name=profile.name,
        kind=spec.kind,
        value_per_gpu_h=spec.value_per_gpu_hour,
        weight=spec.weight,
        max_slowdown_frac=spec.max_slowdown_percent / 100,
        pausable=spec.pausable,
        protected=spec.protected,
        checkpoint_every_s=float(spec.checkpoint.every_seconds),
        restart_s=float(spec.checkpoint.restart_seconds),
        steps=tuple(Step(s.batch_percent / 100, s.draw_percent / 100, s.speed_percent / 100) for s in spec.batch_steps),
        variants=tuple(
            Variant(v.name, v.draw_percent / 100, v.speed_percent / 100, v.quality_percent / 100, float(v.swap_seconds))
            for v in spec.variants
        ),
        speed_frac=_own_curve(profile),
    )


def _own_curve(profile: PowerProfile) -> tuple[float, ...] | None:
    points = profile.spec.curve
    if not points:
        return None
    speed = from_points([p.draw_percent / 100 for p in points], [p.speed_percent / 100 for p in points])
    return tuple(float(v) for v in speed)
