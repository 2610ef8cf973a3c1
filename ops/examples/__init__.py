"""An example of a host's configuration, with four skills: package data that `evoctl init --example` copies."""
