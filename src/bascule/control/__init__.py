"""L8 control: supervisor, workers, watch -> compile -> swap, status and metrics servers."""
