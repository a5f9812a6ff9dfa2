"""The users that come with the package, one module each."""
