"""How the service runs: settings, parts and their order, logs, metrics, traces, the calendar."""
