"""The commands that clients, monitors and Sentinel send to the RESP port."""
