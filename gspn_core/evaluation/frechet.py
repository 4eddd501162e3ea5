"""The Fréchet distance between two sets of features, each fitted by a Gaussian, in float64."""

from dataclasses import dataclass

import numpy as np

# Shares of both sets that the extrapolation uses, and how many draws of each.
_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_DRAWS = 12
_LEAST_GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """The mean (F,) and the covariance (F, F) of a set of features."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> "Gaussian":
        """Fit features (N, F); raises ValueError for fewer than two rows, which have no covariance."""
        features = np.asarray(features, dtype=np.float64)
        if len(features) < 2:
            raise ValueError(f"a covariance needs at least 2 pictures, got {len(features)}; ask for more.")
        return cls(mean=features.mean(axis=0), covariance=np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """Return |μ₁ - μ₂|² + tr(C₁ + C₂ - 2·(C₁^½·C₂·C₁^½)^½) (Dowson and Landau 1982; FID, 1706.08500).

    The product under the root is symmetric, so both roots come from an eigendecomposition and stay real even
    if a covariance is singular.
    """
    root = _square_root(one.covariance)
    middle = root @ other.covariance @ root
    cross = np.sqrt(_eigenvalues(middle)).sum()
    apart = np.square(one.mean - other.mean).sum()
    return float(max(0.0, apart + np.trace(one.covariance) + np.trace(other.covariance) - 2 * cross))


def extrapolated_distance(features: np.ndarray, references: np.ndarray, *, group: int = 1) -> float:
    """Return the distance extrapolated to infinite sets (after Chong and Forsyth, 1911.07023).

    A finite set's distance has a bias proportional to one over its size, even if both sets have the same
    distribution. So parts of both sets, (N, F) and (M, F), are measured too, and a line over 1 / share is
    extrapolated to 0. The result may be slightly negative. Sets of fewer than eight groups are not
    extrapolated.

    group: how many consecutive rows belong to one picture; they are kept or left out together.
    """
    groups = features.reshape(-1, group, features.shape[1])
    if min(len(groups), len(references)) < _LEAST_GROUPS:
        return frechet_distance(Gaussian.fit(features), Gaussian.fit(references))
    rng = np.random.default_rng(0)

    def part(rows: np.ndarray, share: float) -> Gaussian:
        chosen = rng.permutation(len(rows))[: round(share * len(rows))]
        return Gaussian.fit(rows[chosen].reshape(-1, features.shape[1]))

    distances = [
        np.mean([frechet_distance(part(groups, share), part(references, share)) for _ in range(_DRAWS)])
        for share in _SHARES
    ]
    return float(np.polyfit(1 / np.array(_SHARES), distances, 1)[1])


def _square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def _eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of a matrix that is symmetric up to rounding, clamped at 0."""
    return np.linalg.eigvalsh((matrix + matrix.T) / 2).clip(min=0)
