"""MONITOR on the relay's port: the process that makes its lines, and the line to that process."""
