"""HTTP/1.1 under uvicorn, within limits that clients cannot pass."""
