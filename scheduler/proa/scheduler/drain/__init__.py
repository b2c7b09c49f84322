"""Moves pods away from nodes before they reboot: who goes, who stays, who is in the way, and for how long."""
