"""Shows what a calibration found: settings to serve, a report, tables and pictures."""
