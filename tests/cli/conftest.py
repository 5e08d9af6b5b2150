from tests.cli.workplace import workplace

__all__ = ["workplace"]
