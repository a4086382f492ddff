"""Each test gives logging back."""

from given_back import logging_as_it_was

__all__ = ["logging_as_it_was"]
