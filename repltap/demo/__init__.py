"""`repltap demo`: an embedded master, the relay, two replicas and traffic between them."""
