"""File formats over bytes: no file, no network, no clock; keys and time are passed in."""
