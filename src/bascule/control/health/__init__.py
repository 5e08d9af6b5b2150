"""Health checks of upstreams' nodes, in the supervisor: it probes, counts, decides, and tells every worker.

probe: one question to one node; prober: asks them in time; checker: one upstream's nodes and what is known of them;
keeper: all checkers; reporter: in each worker, tells how requests went.
"""
