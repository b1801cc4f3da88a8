"""What is asked of servers besides pixels, which GDAL asks for."""

from __future__ import annotations

from pystac.stac_io import DefaultStacIO

#: Seconds to connect, and after which a server that sends nothing is given up: nobody waits for ever.
CONNECT_S = 10
STALLED_S = 60


class PatientStacIO(DefaultStacIO):
    """Reads Items as pystac does, but does not wait for ever."""

    def read_text_from_href(self, href: str) -> str:
        """The text of a file or an address."""
        if not href.startswith(("http://", "https://")):
            return super().read_text_from_href(href)
        import requests

        answer = requests.get(href, timeout=(CONNECT_S, STALLED_S))
        answer.raise_for_status()
        return answer.content.decode("utf-8")
