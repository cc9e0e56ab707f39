"""Random body proportions: segment lengths and girths."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Proportions:
    """Segment lengths and extra bust depth in metres; `limbs`, `waist`, `seat`, `chest`: girths (average adult 1)."""

    trunk: float
    neck: float
    head: float
    shoulders: float
    hips: float
    upper_arm: float
    forearm: float
    hand: float
    thigh: float
    shin: float
    foot: float
    limbs: float
    waist: float
    seat: float
    chest: float
    bust: float


def proportions(rng: np.random.Generator) -> Proportions:
    """Draws random body proportions, of a child with probability 1/6.

    The adult means are those of D. A. Winter's segment table (Biomechanics and Motor Control of Human Movement) for a
    stature of 1.70 m.
    """
    child = rng.uniform(0.4, 1.0) if rng.random() < 1 / 6 else 0.0
    build = float(np.clip(rng.normal(1.0, 0.13), 0.78, 1.4))
    female = rng.random()
    legs = rng.normal(1.0, 0.035) * (1 - 0.16 * child)
    arms = rng.normal(1.0, 0.03) * (1 - 0.12 * child)
    size = 1 - 0.12 * child
    return Proportions(
        trunk=0.50 * rng.normal(1.0, 0.03) * size,
        neck=0.085 * rng.uniform(0.85, 1.15) * (1 - 0.2 * child),
        head=0.232 * rng.normal(1.0, 0.03),
        shoulders=(0.185 - 0.025 * female) * rng.normal(1.0, 0.03) * size * build**0.2,
        hips=(0.088 + 0.012 * female) * size * build**0.2,
        upper_arm=0.295 * arms,
        forearm=0.25 * arms,
        hand=0.178 * arms,
        thigh=0.425 * legs,
        shin=0.415 * legs,
        foot=0.25 * size * rng.normal(1.0, 0.03),
        limbs=build * rng.normal(1.0, 0.05) * (1.05 - 0.15 * female) * (1 - 0.1 * child),
        waist=build**1.4 * (1.03 - 0.14 * female) * size,
        seat=build * (0.95 + 0.1 * female) * size,
        chest=build * (1.04 - 0.1 * female) * size,
        bust=max(0.0, female - 0.35) * 0.05 * (1 - child),
    )
