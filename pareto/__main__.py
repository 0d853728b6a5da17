"""`python -m pareto` is `pareto`."""

import sys

from pareto.cli import main

if __name__ == "__main__":
    sys.exit(main())
