"""Counters of the service, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("geosr_http_requests_total", "Requests answered.", ("method", "route", "status"))
REQUEST_SECONDS = Histogram(
    "geosr_http_request_seconds",
    "Time to answer.",
    ("route",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
JOBS = Gauge("geosr_jobs", "Jobs by status.", ("status",))
JOB_CHUNKS = Counter("geosr_job_chunks_total", "Chunks computed by jobs.")
LIVE_CHUNKS = Counter("geosr_live_chunks_total", "Chunks of live tiles, computed or found in the cache.", ("how",))
LIVE_CHUNK_SECONDS = Histogram(
    "geosr_live_chunk_seconds", "Time to compute a live chunk.", buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 16)
)
TILES = Counter("geosr_tiles_total", "Live tiles, made or found in the cache.", ("how",))
