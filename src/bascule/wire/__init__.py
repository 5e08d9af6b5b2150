"""L3 wire: HTTP/1.1 bytes in, parsed fields out; no I/O, compiled. Offsets point into the caller's bytes."""
