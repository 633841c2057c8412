"""All networks of the zoo."""

from tools.zoo.network import Network
from tools.zoo.networks import yolo

NETWORKS: dict[str, Network] = {network.name: network for network in (*yolo.NETWORKS,)}
"""By name."""
