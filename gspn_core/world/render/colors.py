"""Know the colours of the world: skies, lights, rocks, growth. Display values 0..1; knows no scene."""

Color = tuple[float, float, float]

# Zenith to horizon, in display values.
STOPS = {
    "dawn": (
        (0.33, 0.43, 0.68),
        (0.50, 0.54, 0.76),
        (0.78, 0.66, 0.76),
        (0.97, 0.76, 0.68),
        (1.0, 0.88, 0.72),
    ),
    "day": (
        (0.13, 0.36, 0.76),
        (0.24, 0.50, 0.87),
        (0.42, 0.67, 0.94),
        (0.64, 0.82, 0.97),
        (0.84, 0.93, 0.98),
    ),
    "dusk": (
        (0.13, 0.11, 0.33),
        (0.31, 0.17, 0.43),
        (0.62, 0.26, 0.43),
        (0.93, 0.44, 0.30),
        (1.0, 0.70, 0.36),
    ),
    "night": (
        (0.012, 0.026, 0.085),
        (0.022, 0.046, 0.13),
        (0.04, 0.08, 0.19),
        (0.07, 0.12, 0.25),
        (0.12, 0.19, 0.33),
    ),
}
LIGHTS = {
    # direct light, ambient light, haze, glow, disc, lit cloud, shaded cloud
    "dawn": (
        (1.05, 0.80, 0.62),
        (0.42, 0.41, 0.52),
        (0.93, 0.76, 0.72),
        (1.0, 0.76, 0.48),
        (1.0, 0.95, 0.78),
        (1.0, 0.84, 0.74),
        (0.66, 0.56, 0.68),
    ),
    "day": (
        (1.02, 0.98, 0.90),
        (0.40, 0.46, 0.56),
        (0.68, 0.82, 0.94),
        (1.0, 0.97, 0.86),
        (1.0, 0.99, 0.93),
        (1.0, 1.0, 1.0),
        (0.66, 0.74, 0.84),
    ),
    "dusk": (
        (1.0, 0.68, 0.50),
        (0.31, 0.28, 0.41),
        (0.84, 0.40, 0.34),
        (1.0, 0.56, 0.22),
        (1.0, 0.86, 0.52),
        (1.0, 0.55, 0.36),
        (0.38, 0.20, 0.38),
    ),
    "night": (
        (0.36, 0.45, 0.62),
        (0.125, 0.165, 0.275),
        (0.13, 0.20, 0.35),
        (0.50, 0.62, 0.85),
        (0.95, 0.96, 0.93),
        (0.30, 0.36, 0.50),
        (0.06, 0.09, 0.17),
    ),
}
ROCKS = {
    "gray": ((0.47, 0.44, 0.42), (0.29, 0.28, 0.29)),
    "red": ((0.72, 0.40, 0.26), (0.47, 0.22, 0.16)),
}
FLOWERS = (
    (0.93, 0.80, 0.25),
    (0.66, 0.45, 0.85),
    (0.90, 0.28, 0.22),
    (0.95, 0.93, 0.90),
    (0.95, 0.55, 0.70),
)
# Dark, light, and the second tone that patches of it have.
GROWTHS = {
    "green": ((0.16, 0.29, 0.12), (0.40, 0.52, 0.18), (0.30, 0.42, 0.16)),
    "autumn": ((0.60, 0.18, 0.05), (0.98, 0.66, 0.12), (0.92, 0.35, 0.06)),
}
GRASSES = {
    "green": ((0.11, 0.23, 0.06), (0.52, 0.63, 0.20)),
    "autumn": ((0.25, 0.19, 0.06), (0.74, 0.60, 0.25)),
}
# Red, white and other cloths of balloons and sails: two stripes each.
CLOTHS = (
    ((0.85, 0.16, 0.14), (0.97, 0.93, 0.86)),
    ((0.96, 0.74, 0.18), (0.84, 0.24, 0.16)),
    ((0.16, 0.38, 0.72), (0.96, 0.90, 0.72)),
    ((0.52, 0.22, 0.58), (0.97, 0.66, 0.30)),
)
SAILS = ((0.97, 0.95, 0.90), (0.96, 0.88, 0.74), (0.86, 0.28, 0.20))


def luma(color: Color) -> float:
    """Return how bright a colour looks (Rec. 709)."""
    return 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2]


def gray(color: Color, amount: float, brightness: float = 1.0) -> Color:
    """Take away a share of a colour's saturation, then dim it."""
    y = luma(color)
    return tuple(brightness * (c + (y - c) * amount) for c in color)


def blend(a: Color, b: Color, amount: float) -> Color:
    """Return a at 0, b at 1."""
    return tuple(x + (y - x) * amount for x, y in zip(a, b, strict=True))


def vary(stops: tuple[Color, ...], warmth: float, gain: float) -> tuple[Color, ...]:
    """Warm and brighten a sky a little."""
    return tuple(shift(tuple(min(1.0, c * gain) for c in stop), warmth * 0.6) for stop in stops)


def shift(color: Color, amount: float) -> Color:
    """Warm (amount > 0) or cool a colour a little."""
    r, g, b = color
    return (min(1.0, r * (1.0 + amount)), g, min(1.0, b * (1.0 - amount)))
