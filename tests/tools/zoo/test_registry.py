"""The list of the zoo's networks."""

from tools.zoo.registry import ALL, NETWORKS


def test_names_are_unique():
    """They are names of files, too."""
    assert len(NETWORKS) == len(ALL)
    assert not any("." in name or "/" in name for name in NETWORKS)


def test_pictures_are_normalised_or_in_a_range():
    """Statistics have one number for each channel, and ranges are not empty."""
    for network in ALL:
        low, high = network.value_range
        assert low < high
        assert network.statistics is None or [len(each) for each in network.statistics] == [3, 3]
