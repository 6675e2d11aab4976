"""`python -m repltap` is `repltap`."""

import sys

from repltap.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
