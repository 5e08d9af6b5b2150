"""`python -m bascule`."""

from bascule.cli.main import main

main()
