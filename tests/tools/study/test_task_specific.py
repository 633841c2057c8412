"""How near pictures are to others."""

import numpy as np

from tools.study.task_specific import ends, nearest


def test_the_nearest_picture(rng):
    """A mirrored copy is at distance 0, one that is brighter by 0.1 at 0.1 (1e-6)."""
    others = rng.uniform(0, 0.8, (3, 4, 5, 3)).astype(np.float32)
    these = np.stack([others[1][:, ::-1], others[2] + np.float32(0.1)])
    found = nearest(these, others)
    np.testing.assert_allclose(found, [0, 0.1], atol=1e-6)
    assert ends(found) == "least 0.000, median 0.050"


def test_no_picture_is_its_own_neighbour(rng):
    """Among themselves, equal pictures are at 0 and the others are not."""
    pictures = rng.uniform(0, 1, (3, 4, 5, 3)).astype(np.float32)
    assert (nearest(pictures, pictures, same=True) > 0.1).all()
    pictures[2] = pictures[0]
    assert (nearest(pictures, pictures, same=True) == 0).tolist() == [True, False, True]
