"""Skin, hair and clothing: a texture for each body part, and the looseness of the clothes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Texture = npt.NDArray[np.float32]

PARTS = (
    "trunk", "yoke", "head", "nose", "neck", "hair", "left_leg", "right_leg", "left_foot", "right_foot", "left_arm",
    "right_arm", "left_hand", "right_hand",
)  # fmt: skip
HEIGHT, WIDTH = 48, 64
"""Texels along a part and around it; the front of a part is at a quarter of the circumference."""

SKINS = np.array([
    (255, 224, 205), (246, 208, 180), (234, 188, 152), (217, 165, 125), (190, 138, 98), (156, 107, 74), (118, 78, 54),
    (84, 55, 40), (60, 40, 31),
]) / 255.0  # fmt: skip
HAIRS = np.array([
    (24, 18, 16), (40, 27, 20), (66, 42, 28), (98, 64, 38), (140, 96, 55), (196, 156, 98), (222, 190, 140),
    (140, 62, 30), (150, 146, 142), (205, 202, 198),
]) / 255.0  # fmt: skip


@dataclass(frozen=True)
class Outfit:
    """Appearance of one person: reflectance `textures [parts, HEIGHT, WIDTH, 3]` and specular `gloss [parts]`, 0..1."""

    parts: tuple[str, ...]
    textures: Texture
    gloss: Texture
    hair: str
    volume: float
    hairline: float
    knot: tuple[float, float]
    length: float
    spread_fingers: float
    loose: dict[str, tuple[float, float, float]]

    def ease(self, part: str, place: Array) -> Array:
        """Returns the girth factors by which clothing widens a part at the positions `place` in 0..1 along it."""
        start, end, amount = self.loose[part]
        inside = np.clip((place - start) / 0.06, 0, 1) * np.clip((end - place) / 0.03, 0, 1)
        return 1 + inside * (0.03 + amount * np.clip((place - start) / max(end - start, 0.05), 0, 1))


def dress(rng: np.random.Generator) -> Outfit:
    """Draws a random appearance: skin, hair and clothes."""
    skin = SKINS[rng.integers(len(SKINS))] * rng.uniform(0.93, 1.05) * rng.uniform(0.97, 1.03, 3)
    hair = HAIRS[rng.integers(len(HAIRS))] * rng.uniform(0.85, 1.15)
    u, v = (np.arange(HEIGHT) + 0.5)[:, None] / HEIGHT, (np.arange(WIDTH) + 0.5)[None] / WIDTH
    textures = np.broadcast_to(skin.astype(np.float32), (len(PARTS), HEIGHT, WIDTH, 3)).copy()
    index = {name: place for place, name in enumerate(PARTS)}
    top, bottom = cloth(rng), cloth(rng)
    if rng.random() < 0.2:
        bottom = top

    kind = str(rng.choice(["tank", "tee", "long", "bra", "none"], p=[0.33, 0.27, 0.18, 0.17, 0.05]))
    hem = {"tank": 0.72, "tee": 0.80, "long": 0.78, "bra": 0.47, "none": 0.0}[kind]
    sleeve = {"tank": 0.0, "tee": rng.uniform(0.28, 0.40), "long": 0.97, "bra": 0.0, "none": 0.0}[kind]
    legs = float(rng.choice([0.22, 0.38, 0.75, 0.97], p=[0.14, 0.21, 0.15, 0.5]))
    waist = rng.uniform(0.56, 0.66)
    front = np.cos(2 * np.pi * (v - 0.25))
    neckline = 0.08 + rng.uniform(0.0, 0.10) * np.clip(front, 0, 1) ** 2 + (0.08 if kind == "bra" else 0.0)
    trunk = textures[index["trunk"]]
    trunk[:] = np.where((u > waist)[..., None], bottom, trunk)
    if kind != "none":
        trunk[:] = np.where(((u > neckline) & (u < hem))[..., None], top, trunk)
    if kind in ("tee", "long"):
        textures[index["yoke"]] = top
    elif kind == "tank":
        textures[index["yoke"]] = np.where(((u > 0.3) & (u < 0.62))[..., None], top, skin)
    for side in ("left", "right"):
        textures[index[f"{side}_leg"]] = np.where((u < legs)[..., None], bottom, skin)
        textures[index[f"{side}_arm"]] = np.where((u < sleeve)[..., None], top, skin)
    if rng.random() < 0.2:
        shoe = rng.uniform(0.05, 0.95, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0.1, 0.95))
        for side in ("left", "right"):
            textures[index[f"{side}_foot"]] = shoe
    textures[index["head"]] = _face(skin, hair, u, v, rng)
    textures[index["nose"]] = skin * 0.97
    strands = 1 + 0.22 * rng.standard_normal((1, WIDTH, 1)) * rng.uniform(0.4, 1)
    textures[index["hair"]] = np.clip(hair * strands, 0.02, 1)
    # Pixel noise: skin and cloth are never uniform.
    textures *= 1 + np.float32(0.025) * rng.standard_normal((HEIGHT, WIDTH, 1), np.float32)
    gloss = np.array([0.06 if name in ("trunk", "yoke") or "leg" in name else 0.14 for name in PARTS])
    gloss[index["hair"]] = 0.22
    styles = ["short", "bun", "ponytail", "long", "afro", "bald"]
    return Outfit(
        parts=PARTS,
        textures=np.clip(textures, 0.01, 1, out=textures),
        gloss=gloss.astype(np.float32),
        hair=str(rng.choice(styles, p=[0.30, 0.20, 0.2, 0.14, 0.08, 0.08])),
        volume=float(rng.uniform(1.05, 1.16)),
        hairline=float(rng.uniform(0.74, 0.86)),
        knot=(1.08, -0.12) if rng.random() < 0.5 else (0.62, -0.56),
        length=float(rng.uniform(1.2, 2.4)),
        spread_fingers=float(rng.uniform(0.3, 2.4)),
        loose={
            "trunk": (
                0.15,
                hem if kind != "none" else 1.0,
                float(rng.choice([0.0, 0.08, 0.2])) * (kind in ("tee", "long")),
            ),
            "leg": (0.12, legs, float(rng.choice([0.0, 0.0, 0.25, 0.6]))),
            "arm": (0.12, max(sleeve, 0.01), float(rng.choice([0.0, 0.2, 0.4])) * (sleeve > 0)),
        },
    )


def cloth(rng: np.random.Generator) -> Array:
    """Returns a random fabric texture `[HEIGHT, WIDTH, 3]`: plain, striped, checked, blotched, blocked or graded."""
    base, other = _colour(rng), _colour(rng)
    u, v = (np.arange(HEIGHT) + 0.5)[:, None] / HEIGHT, (np.arange(WIDTH) + 0.5)[None] / WIDTH
    kind = rng.choice(["plain", "rings", "stripes", "checks", "blotches", "blocks", "shaded"], p=[0.5] + [0.5 / 6] * 6)
    count = int(rng.integers(4, 10))
    share = np.zeros((HEIGHT, WIDTH))
    if kind == "rings":
        share = share + (u * count % 1 < 0.4)
    elif kind == "stripes":
        share = share + (v * count % 1 < 0.35)
    elif kind == "checks":
        share = 0.5 * (u * count % 1 < 0.5) + 0.5 * (v * count % 1 < 0.5)
    elif kind == "blotches":
        coarse = rng.random((HEIGHT // 4, WIDTH // 4)) < 0.4
        share = share + np.kron(coarse, np.ones((4, 4)))
    elif kind == "blocks":
        share = share + (np.abs(np.cos(2 * np.pi * v)) > rng.uniform(0.6, 0.9))
    elif kind == "shaded":
        share = share + u
    result: Array = base + (other - base) * share[..., None]
    return result


def _colour(rng: np.random.Generator) -> Array:
    if rng.random() < 0.4:  # achromatic clothes are the most common
        return np.full(3, rng.choice([0.06, 0.1, 0.2, 0.45, 0.85, 0.93])) * rng.uniform(0.93, 1.07, 3)
    hue, strength, value = rng.random(), rng.uniform(0.35, 0.95), rng.uniform(0.3, 0.95)
    return value * (1 - strength * np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1))


def _face(skin: Array, hair: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """Returns the texture of the head, top to chin: eyes, brows, mouth, cheeks and, in one of five, a beard."""
    face = np.broadcast_to(skin, (HEIGHT, WIDTH, 3)).copy()

    def spot(row: float, column: float, high: float, wide: float) -> Array:
        return np.exp(-((((u - row) / high) ** 2 + ((v - column) / wide) ** 2) ** 2))[..., None]

    def paint(amount: Array, colour: Array) -> None:
        face[:] = face + (colour - face) * amount

    if rng.random() < 0.2:
        paint(0.75 * spot(0.88, 0.25, 0.16, 0.13), hair)
    paint(0.8 * spot(0.785, 0.25, 0.018, 0.045), skin * [0.75, 0.42, 0.42])
    for column in (0.19, 0.31):
        paint(0.35 * spot(0.47, column, 0.05, 0.045), skin * 0.6)
        paint(0.8 * spot(0.475, column, 0.018, 0.028), np.array([0.9, 0.88, 0.86]))
        paint(spot(0.475, column, 0.022, 0.014), np.array([0.08, 0.06, 0.05]))
        paint(0.8 * spot(0.40, column, 0.014, 0.038), hair * 0.7)
        paint(0.25 * spot(0.66, column, 0.06, 0.04), skin * [1.0, 0.7, 0.68])
    return face
