"""How a comparison is shown: JSON, CSV, pictures, one HTML page, a table on the terminal."""
