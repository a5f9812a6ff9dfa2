"""Training of an emotional critic: labelled data, cached hidden states, and what they teach."""
