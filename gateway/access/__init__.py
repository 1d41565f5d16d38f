"""Who asks, whether he may, and how often: keys, signatures, people's sessions, rates."""
