"""What every program needs: errors, events, processes, files, the clock."""
