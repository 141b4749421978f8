"""The command's entry: light, so that Ctrl-C is met from the first moment."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from foundations_tui.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
