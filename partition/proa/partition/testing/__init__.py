"""Cases of the boot state that tests of several folders share."""
