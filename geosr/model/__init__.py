"""The super-resolution models: network, sensor, model cards and the zoo of shipped models."""
