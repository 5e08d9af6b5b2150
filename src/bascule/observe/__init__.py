"""L1 observe: counters, histograms, the access record and its log format. Imports errors only."""
