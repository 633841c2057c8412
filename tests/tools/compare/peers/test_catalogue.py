"""What is installed for each peer, and which runner it has."""

from tools.compare.peers.catalogue import PEERS
from tools.compare.peers.environment import RUNNERS


def test_every_peer_has_its_runner():
    """The catalogue and the folder of runners agree, and every version is pinned."""
    found = {path.stem for path in RUNNERS.glob("run_*.py")}
    assert found == {f"run_{peer.key}" for peer in PEERS}
    assert all("==" in requirement for peer in PEERS for requirement in peer.requirements)
