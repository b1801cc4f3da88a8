"""Settings of storage that are told once, and heard by both of the libraries that reach it."""

from __future__ import annotations

import os
from urllib.parse import urlsplit


def share_settings() -> None:
    """Tell GDAL in its own words which server speaks S3, where only AWS's variables do.

    GDAL has names of its own for the endpoint, and wants it without a scheme. What is set already stays.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint or "AWS_S3_ENDPOINT" in os.environ:
        return
    address = urlsplit(endpoint)
    os.environ["AWS_S3_ENDPOINT"] = address.netloc + address.path.rstrip("/")
    os.environ.setdefault("AWS_HTTPS", "NO" if address.scheme == "http" else "YES")
    # Servers of one's own rarely have a host name for each bucket.
    os.environ.setdefault("AWS_VIRTUAL_HOSTING", "FALSE")
