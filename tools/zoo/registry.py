"""All networks of the zoo."""

from tools.zoo.network import Network
from tools.zoo.networks import (
    centernet,
    efficientdet,
    hf,
    nanodet,
    ppyoloe,
    rtmdet,
    tv,
    yolo,
    yolox,
)

PLAIN = (*yolox.NETWORKS, *rtmdet.NETWORKS, *nanodet.NETWORKS, *centernet.NETWORKS)
PLAIN += ppyoloe.NETWORKS
"""Those written here, of the structure of networks whose packages are too large or too old."""

ALL = (*yolo.NETWORKS, *tv.NETWORKS, *hf.NETWORKS, *efficientdet.NETWORKS, *PLAIN)

NETWORKS: dict[str, Network] = {network.name: network for network in ALL}
"""By name."""
