"""The doors a person uses: evoctl, the web page, the demo, the simulator, deployment files."""
