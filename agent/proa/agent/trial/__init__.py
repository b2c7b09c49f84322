"""A trial: arming, health, commit, return."""
