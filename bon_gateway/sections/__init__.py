"""Sections of the settings that no single part of the gateway owns, and what every section is."""
