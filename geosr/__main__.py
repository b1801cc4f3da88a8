"""``python -m geosr``: the command, where its script is not on the path."""

from geosr.cli.main import main

main()
