"""Stories that tests on virtual machines share."""
