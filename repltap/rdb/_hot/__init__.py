"""The loops that see every byte of an RDB: typed, compiled by mypyc where that is built."""
