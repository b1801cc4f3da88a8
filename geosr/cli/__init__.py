"""The command ``geosr``, one module per subcommand.

Start with :mod:`geosr.cli.main`. ``options`` declares each option once, ``errors`` turns exceptions into one line and
an exit code, ``scene_request`` and ``output`` are shared by several commands. May import every other folder, and does
so inside the commands: ``geosr --help`` loads no network library.
"""
