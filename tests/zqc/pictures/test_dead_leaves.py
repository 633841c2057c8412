"""The pictures that statistics are compared with are like the average photograph."""

import numpy as np
import pytest

from zqc.pictures.dead_leaves import dead_leaves


@pytest.fixture(scope="module")
def sets():
    """Eight pictures, sharp and blurred."""
    return dead_leaves(8, (3, 128, 128), blurs=(0.7, 1.4))


def test_brightness_contrast_and_colour_are_exact(sets):
    """Each channel has ImageNet's mean and a deviation of 0.25 over the set, within 0.005."""
    for pictures in sets:
        assert pictures.shape == (8, 3, 128, 128)
        assert pictures.dtype == np.float32
        assert (pictures.min(), pictures.max()) == (0.0, 1.0)
        means = pictures.mean((0, 2, 3), dtype=np.float64)
        np.testing.assert_allclose(means, [0.485, 0.456, 0.406], atol=0.005)
        np.testing.assert_allclose(pictures.std((0, 2, 3), dtype=np.float64), 0.25, atol=0.005)


def test_channels_are_correlated(sets):
    """Colours are mostly brightness: correlations between 0.85 and 0.97."""
    flat = sets[0].transpose(1, 0, 2, 3).reshape(3, -1)
    correlations = np.corrcoef(flat)[np.triu_indices(3, 1)]
    assert correlations.min() > 0.85
    assert correlations.max() < 0.97


def test_the_amplitude_falls_as_one_over_frequency(sets):
    """The slope of the logarithms is -1 within 0.3, up to where the blur sets in."""
    grey = sets[0].mean(1).astype(np.float64)
    power = (np.abs(np.fft.fft2(grey - grey.mean())) ** 2).mean(0)
    frequencies = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)) * 128
    rings = np.array([2, 4, 8, 16, 24])
    amplitudes = [
        np.sqrt(power[(frequencies > r * 0.8) & (frequencies < r * 1.25)].mean()) for r in rings
    ]
    slope = np.polyfit(np.log(rings), np.log(amplitudes), 1)[0]
    assert -1.3 < slope < -0.7


def test_edges_are_few_and_strong(sets):
    """Differences between neighbours have a kurtosis far above the 3 of Gaussian noise."""
    steps = np.diff(sets[0].astype(np.float64), axis=3).reshape(-1)
    assert np.mean(steps**4) / np.mean(steps**2) ** 2 > 8


def test_blurred_ones_are_the_same_pictures(sets):
    """Both sets show the same; the second has less contrast between neighbours."""
    sharp, soft = (pictures.astype(np.float64) for pictures in sets)
    assert np.corrcoef(sharp.reshape(-1), soft.reshape(-1))[0, 1] > 0.95
    assert np.abs(np.diff(soft, axis=3)).mean() < np.abs(np.diff(sharp, axis=3)).mean()


@pytest.mark.parametrize("picture", [(1, 16, 16), (4, 9, 40), (3, 33, 7)])
def test_any_shape(picture):
    """Any number of channels and any size, odd ones too; the seed decides everything."""
    (made,) = dead_leaves(3, picture, blurs=(1.0,), seed=1)
    assert made.shape == (3, *picture)
    assert np.isfinite(made).all()
    np.testing.assert_array_equal(made, dead_leaves(3, picture, blurs=(1.0,), seed=1)[0])
    assert not np.array_equal(made, dead_leaves(3, picture, blurs=(1.0,), seed=2)[0])
