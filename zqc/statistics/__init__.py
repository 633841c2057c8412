"""What is known of the values inside a network, from BatchNorm, a card or a twin."""
