"""Reading RDB files."""
