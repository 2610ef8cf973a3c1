"""The core: what each of the six stages decides. No I/O, no clock, no global randomness."""
