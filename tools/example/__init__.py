"""The example detector: its scenes, its network, its training and its export."""
