"""The sinks that ship with repltap, one module each; they see nothing but `repltap.sink`."""
