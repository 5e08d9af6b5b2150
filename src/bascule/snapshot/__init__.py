"""L6 snapshot: compiles resources to the tables that the engine reads; pure and total."""
