"""The whole pipeline in ninety seconds, on real parts and a simulated model."""
