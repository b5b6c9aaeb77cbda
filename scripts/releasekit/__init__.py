"""The parts of scripts/release."""


class Problem(Exception):
    """Why there is no release, in words."""
