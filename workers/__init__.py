"""The shell: RQ jobs, the stage engine, the gate, model clients, the host's configuration. The only floor that does I/O with models and Redis."""
