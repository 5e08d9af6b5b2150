"""L8 admin: the Admin API over store and snapshot."""
