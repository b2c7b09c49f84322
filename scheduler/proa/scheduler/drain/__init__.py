"""Moves pods away from nodes before they reboot: which pods go, which stay, which block it, and for how long."""
