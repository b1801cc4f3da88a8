"""Access control: refused requests, API keys and rates, and the only way out to other hosts.

``request_guard`` refuses requests before a route sees them, ``api_keys`` knows callers, ``egress_proxy`` connects to
allowed hosts. May import ``database``, ``settings`` and ``problems``.
"""
