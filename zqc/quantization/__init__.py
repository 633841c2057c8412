"""From the prepared float model to the canonical quantized one."""
