"""Waits until models are in the cache: `await_models.py CACHE owner/name@revision...`."""

import hashlib
import sys
import time
from pathlib import Path


def main(cache: Path, models: list[str]) -> None:
    for model in models:
        mark = cache / ".complete" / hashlib.sha256(model.encode()).hexdigest()
        if not mark.exists():
            print(f"waiting for {model}", flush=True)
        while not mark.exists():
            time.sleep(2)


main(Path(sys.argv[1]), sys.argv[2:])
