"""Readers and writers; knows core only."""
