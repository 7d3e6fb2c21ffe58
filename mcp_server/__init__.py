"""secret-management: operate secret stores from an assistant that never sees a value."""

__version__ = "0.1.0"
