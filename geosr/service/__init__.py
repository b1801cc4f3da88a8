"""The HTTP service: live super-resolved tiles, jobs by OGC API – Processes, their results, and a web page.

Start with :mod:`geosr.service.app`, which puts the parts together. Requests enter through ``security``, are answered
by ``routes``, and use ``tiles`` (live chunks on a map's grid), ``jobs`` (queue and processes) and ``results``
(finished products). ``page`` is sent to browsers. May import ``run`` and everything below it.
"""
