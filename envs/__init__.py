"""Gymnasium environments and wrappers: a frozen language model as a Markov decision process."""
