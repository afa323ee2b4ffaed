"""What people do with an installation: see it, wake it, run something now, read what was run."""
