"""Fetches models of the hub into the cache: `fetch_models.py CACHE owner/name@revision...`.

A mark beside them says that one is complete; `await_models.py` waits for it.
"""

import hashlib
import sys
from pathlib import Path

from huggingface_hub import snapshot_download


def main(cache: Path, models: list[str]) -> None:
    marks = cache / ".complete"
    marks.mkdir(parents=True, exist_ok=True)
    for model in models:
        mark = marks / hashlib.sha256(model.encode()).hexdigest()
        if mark.exists():
            print(f"{model} is there", flush=True)
            continue
        name, _, revision = model.rpartition("@")
        print(f"fetching {model}", flush=True)
        snapshot_download(name, revision=revision)
        mark.touch()


main(Path(sys.argv[1]), sys.argv[2:])
