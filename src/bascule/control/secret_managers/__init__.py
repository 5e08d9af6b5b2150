"""Where `$secret://` references lead: a file for each kind of secret manager. Only the supervisor asks them."""
