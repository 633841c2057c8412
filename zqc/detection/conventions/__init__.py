"""How families of detectors write what they have found into their outputs."""
