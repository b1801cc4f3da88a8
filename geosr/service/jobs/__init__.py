"""Jobs: their inputs, rows in the database, processes and progress.

Start with :mod:`geosr.service.jobs.queue`: ``job_store`` has every row, ``job_runner`` every process. A job's process
runs :mod:`geosr.service.jobs.job_main`; ``record`` is a job's row. May import ``results``, ``scenes`` and
``security``.
"""
