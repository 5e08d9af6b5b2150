"""L7 engine: the exchange: match, phases, balance, upstream, response, log. Compiled."""
