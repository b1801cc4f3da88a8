"""Messages of geosr and of its libraries as clients of the service may read them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

#: Inputs of jobs, which have the names of the command's options.
INPUTS = frozenset(
    {
        "bbox",
        "aoi",
        "datetime",
        "max_cloud",
        "fill",
        "mask_clouds",
        "dates",
        "reference",
        "nodata",
        "sensor",
        "model",
        "uncertainty",
        "sharpness",
        "item",
    }
)

_FLAG = re.compile(r"--[a-z][a-z-]*")

#: Where a sentence goes on with advice.
_JOINTS = re.compile(r"[:;.,] | \(|, or | or ")

#: Up to the punctuation of the sentence that it stands in.
_ADDRESS = re.compile(r"https?://[^\s/,;]+?(?:/[^\s,;]*?)?(?=[:,;.]?(?:\s|$))")

#: Files of this machine; addresses have their slashes after a colon or a name.
_PATH = re.compile(r"(?<![\w/:.@~-])/(?:[^\s/:;,'\"()]+/)+([^\s/:;,'\"()]*)")


def for_clients(text: str) -> str:
    """A message without paths or private addresses, with the inputs' names for options of the command.

    Advice to use an option that the service has not, and all that follows it in its sentence, is left out.
    """
    public = _ADDRESS.sub(_if_public, " ".join(text.split()))
    named = _FLAG.sub(_as_input, _PATH.sub(_file_name, public))
    flag = _FLAG.search(named)
    while flag is not None:
        joints = [joint for joint in _JOINTS.finditer(named, 0, flag.start()) if joint.group() != " or "]
        begin = joints[-1].start() if joints else 0
        after = named.find("; ", flag.end())
        named = (named[:begin] + (named[after:] if after >= 0 else "")).strip(" ;,:")
        flag = _FLAG.search(named)
    return named.strip() or "what is asked for cannot be done"


def _as_input(flag: re.Match[str]) -> str:
    name = flag.group().removeprefix("--").replace("-", "_")
    return name if name in INPUTS else flag.group()


def _if_public(address: re.Match[str]) -> str:
    host = urlsplit(address.group()).hostname or ""
    try:
        is_public = ipaddress.ip_address(host).is_global
    except ValueError:
        is_public = "." in host.strip(".")
    return address.group() if is_public else "a server of the service's network"


def _file_name(path: re.Match[str]) -> str:
    return path.group(1) or "a folder"
