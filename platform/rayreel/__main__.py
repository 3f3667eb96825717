"""`python -m rayreel` is the command `rayreel`."""

from rayreel.cli.main import main

if __name__ == "__main__":
    main()
