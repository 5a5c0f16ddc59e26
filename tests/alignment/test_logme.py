"""LogME against the Gaussian density it stands for, and against its numerical maximum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal

from asvp.alignment import fit_evidence, logme
from asvp.alignment.logme import RATIO_RANGE, RESIDUAL_FLOOR
from asvp.errors import DataError


def clusters(rows: int, dim: int, classes: int, *, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    centres = rng.standard_normal((classes, dim))
    return centres[labels] + spread * rng.standard_normal((rows, dim)), labels


def low_rank(rows: int, dim: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    features, labels = clusters(rows, rank, 4, seed=3)
    return features @ np.random.default_rng(4).standard_normal((rank, dim)), labels


def one_row_class() -> tuple[np.ndarray, np.ndarray]:
    features, labels = clusters(40, 12, 3, seed=5)
    return features, np.where(np.arange(40) == 17, 9, labels)


def zero_mean_noise() -> tuple[np.ndarray, np.ndarray]:
    features = np.random.default_rng(6).standard_normal((60, 5))
    return features - features.mean(axis=0), np.random.default_rng(7).integers(0, 2, 60)


CASES = {
    "more rows than dimensions": clusters(150, 20, 5),
    "fewer rows than dimensions": clusters(40, 90, 5),
    "as many rows as dimensions": clusters(30, 30, 4),
    "rank-deficient, tall": low_rank(80, 30, 6),
    "rank-deficient, wide": low_rank(40, 70, 6),
    "one class": clusters(50, 8, 1),
    "one class, wide": clusters(10, 40, 1),
    "a class with one row": one_row_class(),
    "every row its own class": (clusters(12, 6, 3)[0], np.arange(12)),
    "one row": (np.ones((1, 3)), np.array([4])),
    "constant features": (np.full((30, 7), 2.5), clusters(30, 7, 3)[1]),
    "features of zeros": (np.zeros((30, 7)), clusters(30, 7, 3)[1]),
    "separable": clusters(100, 10, 3, spread=1e-3),
    "nothing to explain": zero_mean_noise(),
    "absent and negative labels": (clusters(60, 10, 3)[0], np.array([-7, 2, 1000])[clusters(60, 10, 3)[1]]),
    "tiny scale": (1e-4 * clusters(60, 10, 3)[0], clusters(60, 10, 3)[1]),
    "huge scale": (1e6 * clusters(60, 10, 3)[0], clusters(60, 10, 3)[1]),
}


def density(features: np.ndarray, target: np.ndarray, alpha: float, beta: float) -> float:
    covariance = np.eye(len(target)) / beta + features @ features.T / alpha
    return float(multivariate_normal(np.zeros(len(target)), covariance, allow_singular=False).logpdf(target))


def highest_density(features: np.ndarray, target: np.ndarray) -> float:
    """The largest log density over alpha and beta within LogME's bounds, by singular values and scipy."""
    rows = len(features)
    left, singular, _ = np.linalg.svd(features)
    spectrum = np.zeros(rows)
    spectrum[: len(singular)] = singular[:rows] ** 2
    spectrum[spectrum <= (max(features.shape) * np.finfo(float).eps * singular[0]) ** 2] = 0.0
    squares = (left.T @ target) ** 2
    bounded = (spectrum > 0).all()
    most = np.inf if bounded else rows / (RESIDUAL_FLOOR * target.sum())
    lowest = 1e-16 if bounded else 1 / RATIO_RANGE
    largest = max(spectrum.max(), 1e-300)

    def values(places: np.ndarray) -> np.ndarray:
        spread = 1.0 + spectrum / (largest * np.exp(places[:, None]))
        quadratic = (squares / spread).sum(axis=1)
        beta = np.minimum(rows / quadratic, most)
        return 0.5 * (rows * np.log(beta / (2 * np.pi)) - np.log(spread).sum(axis=1) - beta * quadratic)

    places = np.linspace(np.log(lowest), np.log(RATIO_RANGE), 700)
    heights = values(places)
    best = heights.max()
    edged = np.r_[-np.inf, heights, -np.inf]
    peaks = np.flatnonzero((heights >= edged[:-2]) & (heights >= edged[2:]))
    # On a plateau rounding makes many peaks, all of one height.
    for peak in peaks[np.argsort(-heights[peaks], kind="stable")][:6]:
        ends = places[max(peak - 1, 0)], places[min(peak + 1, len(places) - 1)]
        found = minimize_scalar(
            lambda place: -values(np.array([place]))[0], bounds=ends, method="bounded", options={"xatol": 1e-9}
        )
        best = max(best, -found.fun)
    return float(best)


@pytest.mark.parametrize("case", CASES)
def test_evidence_is_the_gaussian_log_density_at_the_fitted_alpha_and_beta(case: str) -> None:
    features, labels = CASES[case]
    evidence = fit_evidence(features, labels)
    assert evidence.classes.tolist() == np.unique(labels).tolist()
    expected = [
        density(features, (labels == number).astype(float), alpha, beta)
        for number, alpha, beta in zip(evidence.classes, evidence.alpha, evidence.beta, strict=True)
    ]
    np.testing.assert_allclose(evidence.log_evidence, expected, rtol=1e-6, atol=1e-6)
    assert logme(features, labels) == pytest.approx(np.mean(expected) / len(labels), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_the_evidence_is_the_maximum_over_alpha_and_beta(case: str) -> None:
    features, labels = CASES[case]
    evidence = fit_evidence(features, labels)
    best = [highest_density(features, (labels == number).astype(float)) for number in evidence.classes]
    np.testing.assert_allclose(evidence.log_evidence / len(labels), np.array(best) / len(labels), rtol=0, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 40),
    dim=st.integers(1, 40),
    square=st.booleans(),
    classes=st.integers(1, 5),
    apart=st.floats(-2, 2.5),
    offset=st.sampled_from([0.0, 5.0, -300.0]),
    kind=st.sampled_from([np.float16, np.float32, np.float64]),
    seed=st.integers(0, 9999),
)
def test_the_evidence_is_the_maximum_for_any_shape_and_separation(
    rows: int, dim: int, square: bool, classes: int, apart: float, offset: float, kind: type, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels, dim = rng.integers(0, classes, rows), rows if square else dim
    centres = 10**apart * rng.standard_normal((classes, dim))
    features = (rng.standard_normal((rows, dim)) + centres[labels] + offset).astype(kind)
    evidence = fit_evidence(features, labels)
    for number, fitted in zip(evidence.classes, evidence.log_evidence, strict=True):
        best = highest_density(features.astype(float), (labels == number).astype(float))
        assert fitted / rows == pytest.approx(best / rows, abs=1e-6)


def test_the_fixed_point_that_was_left_early_is_passed() -> None:
    """With three means in noise the usual eleven steps end 0.004 below the maximum."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 40)
    features = rng.standard_normal((40, 120))
    features[:, :3] += 2 * np.eye(3)[labels]
    best = [highest_density(features, (labels == number).astype(float)) for number in range(3)]
    assert logme(features, labels) == pytest.approx(np.mean(best) / 40, abs=1e-8)


def test_of_several_maxima_the_highest_counts() -> None:
    """A target that strong and weak directions explain: the evidence over alpha/beta has two peaks."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        features = rng.standard_normal((12, 12)) * np.geomspace(1, 10 ** rng.uniform(-6, -1), 12)
        labels = rng.integers(0, 2, 12)
        evidence = fit_evidence(features, labels)
        best = [highest_density(features, (labels == number).astype(float)) for number in evidence.classes]
        np.testing.assert_allclose(evidence.log_evidence / 12, np.array(best) / 12, rtol=0, atol=1e-6)


@pytest.mark.parametrize("exponent", [-700, -400, 400])
def test_the_scale_of_the_features_does_not_matter(exponent: int) -> None:
    """Squares of such numbers leave the range of float64."""
    features, labels = clusters(60, 10, 3)
    scaled = np.ldexp(features, exponent)
    assert logme(scaled, labels) == pytest.approx(logme(features, labels), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 25),
    dim=st.integers(1, 25),
    classes=st.integers(1, 6),
    rank=st.integers(1, 25),
    seed=st.integers(0, 999),
)
def test_any_shape_and_rank_gives_the_density(rows: int, dim: int, classes: int, rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, dim))
    labels = rng.integers(0, classes, rows)
    evidence = fit_evidence(features, labels)
    for number, alpha, beta, value in zip(
        evidence.classes, evidence.alpha, evidence.beta, evidence.log_evidence, strict=True
    ):
        eigenvalues, vectors = np.linalg.eigh(features @ features.T)
        variance = 1.0 / beta + np.maximum(eigenvalues, 0.0) / alpha
        squares = (vectors.T @ (labels == number)) ** 2
        expected = -0.5 * np.sum(np.log(2 * np.pi * variance) + squares / variance)
        assert np.isfinite(value)
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("shape", [(120, 25), (25, 60)])
def test_the_gram_matrix_loses_nothing_that_float32_features_hold(shape: tuple[int, int]) -> None:
    """Singular values over seven decades: the Gram route agrees with an SVD of the features."""
    rng = np.random.default_rng(12)
    size = min(shape)
    left = np.linalg.qr(rng.standard_normal((shape[0], size)))[0]
    right = np.linalg.qr(rng.standard_normal((shape[1], size)))[0]
    features = (left * np.geomspace(1.0, 1e-7, size)) @ right.T
    labels = (left[:, 1] > np.median(left[:, 1])).astype(int)
    evidence = fit_evidence(features, labels)
    vectors, singular, _ = np.linalg.svd(features, full_matrices=False)
    for number, alpha, beta, value in zip(
        evidence.classes, evidence.alpha, evidence.beta, evidence.log_evidence, strict=True
    ):
        target = (labels == number).astype(float)
        spread = 1.0 + singular**2 * beta / alpha
        squares = (vectors.T @ target) ** 2
        quadratic = np.sum(squares / spread) + target @ target - squares.sum()
        exact = 0.5 * (len(labels) * np.log(beta / (2 * np.pi)) - np.log(spread).sum() - beta * quadratic)
        assert value == pytest.approx(exact, rel=1e-5)


def test_a_class_without_labelled_rows_adds_no_term() -> None:
    features, labels = clusters(90, 12, 3)
    assert logme(features, labels) == pytest.approx(logme(features, labels * 50), rel=1e-12)


def test_row_order_and_class_numbers_do_not_matter() -> None:
    features, labels = clusters(90, 12, 4)
    order = np.random.default_rng(1).permutation(90)
    renamed = np.array([3, 0, 2, 1])[labels]
    assert logme(features[order], renamed[order]) == pytest.approx(logme(features, labels), rel=1e-10)


def test_many_blocks_give_the_result_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tall, wide = clusters(90, 12, 4), clusters(20, 70, 4)
    whole = [logme(*tall), logme(*wide)]
    monkeypatch.setattr("asvp.alignment.labelled._BLOCK_VALUES", 100)
    assert [logme(*tall), logme(*wide)] == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_narrow_floats_are_summed_in_float64(kind: type) -> None:
    features, labels = clusters(200, 30, 4)
    narrow = features.astype(kind)
    assert logme(narrow, labels) == pytest.approx(logme(narrow.astype(np.float64), labels), rel=1e-12)


def test_separated_classes_are_explained_better_than_mixed_ones() -> None:
    scores = [logme(*clusters(300, 16, 5, spread=spread)) for spread in (0.3, 1.0, 3.0, 10.0)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("features", "labels", "key"),
    [
        (np.ones(5), np.zeros(5, int), "features"),
        (np.ones((5, 2), int), np.zeros(5, int), "features"),
        (np.ones((0, 2)), np.zeros(0, int), "features"),
        (np.ones((5, 2)), np.zeros(4, int), "labels"),
        (np.ones((5, 2)), np.zeros(5), "labels"),
        (np.array([[1.0, np.nan], [0.0, 1.0], [1.0, 1.0]]), np.array([0, 1, 1]), "features"),
        (np.array([[1.0, np.inf, 0.0]]), np.array([0]), "features"),
        (np.ma.masked_greater(np.arange(6.0).reshape(3, 2), 4), np.array([0, 1, 1]), "features"),
        (np.ones((3, 2)), np.ma.masked_equal([0, 1, 1], 0), "labels"),
        ([[1.0, 2.0], [1.0]], np.array([0, 1]), "features"),
        (np.ones((3, 2), complex), np.zeros(3, int), "features"),
        (np.ones((3, 2), object), np.zeros(3, int), "features"),
        (np.ones((3, 2)), ["a", "b", "c"], "labels"),
        (np.full((3, 2), np.finfo(np.longdouble).max), np.array([0, 1, 1]), "features"),
        (None, None, "features"),
    ],
)
def test_bad_input_is_a_data_error_that_names_the_argument(features: np.ndarray, labels: np.ndarray, key: str) -> None:
    with pytest.raises(DataError) as caught:
        logme(features, labels)
    assert caught.value.key == key
    assert caught.value.mend
