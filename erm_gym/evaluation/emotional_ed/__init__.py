"""The Emotional-ED experiments: as published, and as a fair comparison."""
