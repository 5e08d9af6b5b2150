"""Real servers on free ports: nginx, Redis, the gateway itself, and raw-socket peers that play scripts."""
