"""The HTTP service: live super-resolved tiles, jobs by OGC API – Processes, their results, and a web page."""
