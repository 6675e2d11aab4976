"""How the relay is, as INFO, the JSON API, the page and the command line all render it."""
