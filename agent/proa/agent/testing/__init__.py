"""What the tests of the agent share: releases without a builder, a node in a folder, a systemctl, and orders."""
