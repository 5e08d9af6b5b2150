"""L4 plugin: the plugin author's API: Plugin, Config, Request, Response, Host, registry; kit/ holds what plugins share."""
