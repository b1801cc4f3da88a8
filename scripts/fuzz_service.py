"""Requests that schemathesis makes of the service's own OpenAPI document, with its default checks.

    python -m pip install schemathesis
    python -m scripts.fuzz_service --seconds 600

The service runs over a real STAC API (rustac) with scenes on a web server, without a network, and takes any number of
requests. schemathesis prints what it finds: a status that the document does not have, an answer of another form, valid
requests that are refused, others that are taken, errors of the server. Its exit code is this program's. Where it sends
an upload, it sends a part of the bundled sample (``scripts/fuzz_uploads.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.service.conftest import served
from tests.stac_items import serve, write_item
from tests.web_files import web_files

#: Limits that the requests of one address would reach.
_UNLIMITED = dict.fromkeys(("orders_per_hour", "uploads_per_hour", "requests_per_minute"), 1_000_000)


def main() -> int:
    """Run schemathesis; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="time for all requests")
    parser.add_argument("--seed", type=int, help="seed of an earlier run")
    parser.add_argument("--schemathesis", default="st", help="its command, where it is installed elsewhere")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="geosr-fuzz-") as name:
        folder = Path(name)
        path = write_item(folder, "one", np.full((4, 40, 40), 1000, np.uint16))
        with web_files(folder) as files:
            path.write_text(path.read_text().replace(path.parent.as_uri(), files.address))
            with serve(folder, path) as api:
                hosts = json.dumps([api.removeprefix("http://"), files.address.removeprefix("http://")])
                with served(folder / "data", "--demo", api=api, private_hosts=hosts, **_UNLIMITED) as service:
                    command = [
                        arguments.schemathesis,
                        "run",
                        f"{service.address}/api",
                        "--max-time",
                        str(arguments.seconds),
                        "--continue-on-failure",
                        "--request-timeout",
                        "60",
                        *(() if arguments.seed is None else ("--seed", str(arguments.seed))),
                    ]
                    hooks = {"SCHEMATHESIS_HOOKS": "scripts.fuzz_uploads", "PYTHONPATH": os.pathsep.join(sys.path)}
                    return subprocess.run(command, env={**os.environ, **hooks}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
