"""The Fréchet distance between two sets of features, each taken for a Gaussian. In float64."""

from dataclasses import dataclass

import numpy as np


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

    The product in the middle is symmetric, so both roots come from an eigendecomposition and stay real where
    a covariance is singular.
    """
    root = _square_root(one.covariance)
    middle = root @ other.covariance @ root
    cross = np.sqrt(_eigenvalues(middle)).sum()
    apart = np.square(one.mean - other.mean).sum()
    return float(max(0.0, apart + np.trace(one.covariance) + np.trace(other.covariance) - 2 * cross))


def _square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def _eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of a matrix that is symmetric but for rounding; rounding below 0 is cut off."""
    return np.linalg.eigvalsh((matrix + matrix.T) / 2).clip(min=0)
