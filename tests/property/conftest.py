"""Importing it sets hypothesis up, before any test is defined."""

from tests.unit import examples as examples
