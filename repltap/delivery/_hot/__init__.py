"""The loops that see every command: typed, without I/O, compiled by mypyc where that is built."""
