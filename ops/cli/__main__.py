"""`python -m ops.cli` is `evoctl`, also where the script is not on the PATH."""

from ops.cli.main import main

main()
