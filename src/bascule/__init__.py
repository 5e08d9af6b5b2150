"""Bascule: an API gateway that takes APISIX's configuration, with Python plugins and a compiled engine."""
