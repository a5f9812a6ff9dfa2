"""Simulated users, one a module."""
