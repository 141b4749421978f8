"""``python -m foundations``: the command line, where the client is installed."""

import sys

try:
    from foundations_tui.__main__ import main
except ImportError as error:
    sys.exit("the command line needs the client: pip install foundations-tui (%s)" % error)

if __name__ == "__main__":
    main()
