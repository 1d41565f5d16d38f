"""Programs that we did not write, run against a service of their own: `./dev outside`."""
