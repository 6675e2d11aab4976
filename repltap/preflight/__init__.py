"""What `repltap check` looks at before a relay is started: the master, and this machine."""
