"""Worlds that can stand behind the simulator: what its simulated models know and how they answer."""
