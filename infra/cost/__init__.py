"""What an installation costs a month, beforehand, and what else would do and at what price."""
