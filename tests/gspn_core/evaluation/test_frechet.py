"""The Fréchet distance against the closed forms that Gaussians have."""

import numpy as np
import pytest

from gspn_core.evaluation.frechet import Gaussian, extrapolated_distance, frechet_distance


def gaussian(mean, covariance):
    return Gaussian(mean=np.asarray(mean, float), covariance=np.asarray(covariance, float))


def random_covariance(rng, size):
    half = rng.normal(size=(size, size))
    return half @ half.T


def test_of_commuting_covariances_it_is_the_distance_of_means_and_of_deviations():
    one = gaussian([1, 2, 3], np.diag([4.0, 9.0, 1.0]))
    other = gaussian([1, 4, 3], np.diag([1.0, 1.0, 16.0]))
    assert frechet_distance(one, other) == pytest.approx(2**2 + (2 - 1) ** 2 + (3 - 1) ** 2 + (1 - 4) ** 2)


def test_of_turned_covariances_it_agrees_with_the_roots_of_their_product():
    rng = np.random.default_rng(0)
    one = gaussian(np.zeros(5), random_covariance(rng, 5))
    other = gaussian(np.ones(5), random_covariance(rng, 5))
    roots = np.sqrt(np.linalg.eigvals(one.covariance @ other.covariance).real)
    want = 5 + np.trace(one.covariance) + np.trace(other.covariance) - 2 * roots.sum()
    assert frechet_distance(one, other) == pytest.approx(want)
    assert frechet_distance(other, one) == pytest.approx(want)


def test_a_set_is_at_no_distance_from_itself_even_where_its_covariance_is_singular():
    features = np.random.default_rng(1).normal(size=(6, 20))
    fitted = Gaussian.fit(features)
    assert frechet_distance(fitted, fitted) == pytest.approx(0, abs=1e-6)


def test_a_fit_has_the_sample_mean_and_covariance():
    features = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    fitted = Gaussian.fit(features)
    np.testing.assert_allclose(fitted.mean, [1, 2])
    np.testing.assert_allclose(fitted.covariance, np.diag([4 / 3, 16 / 3]))


def test_one_picture_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2 pictures, got 1"):
        Gaussian.fit(np.ones((1, 3)))


@pytest.mark.parametrize("group", [1, 4])
def test_sets_drawn_alike_are_hardly_apart_when_extrapolated(group):
    rng = np.random.default_rng(2)
    raw, extrapolated = [], []
    for _ in range(6):
        pictures = rng.normal(size=(160 // group, 1, 16)) + rng.normal(size=(160 // group, group, 16))
        features = pictures.reshape(160, 16)
        references = rng.normal(size=(320, 16)) * 2**0.5
        raw.append(frechet_distance(Gaussian.fit(features), Gaussian.fit(references)))
        extrapolated.append(extrapolated_distance(features, references, group=group))
    assert min(raw) > 0.5
    assert abs(np.mean(extrapolated)) < 0.25 * np.mean(raw)


def test_a_true_distance_survives_the_extrapolation():
    rng = np.random.default_rng(3)
    features, references = rng.normal(size=(300, 8)) + 1.0, rng.normal(size=(300, 8))
    assert extrapolated_distance(features, references) == pytest.approx(8.0, rel=0.15)


def test_a_few_pictures_are_measured_as_they_are():
    rng = np.random.default_rng(4)
    features, references = rng.normal(size=(4, 3)), rng.normal(size=(20, 3))
    want = frechet_distance(Gaussian.fit(features), Gaussian.fit(references))
    assert extrapolated_distance(features, references) == want
