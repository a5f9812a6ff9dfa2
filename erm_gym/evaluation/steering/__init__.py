"""What steering does: to the affect that is read in texts, and to the texts that are written."""
