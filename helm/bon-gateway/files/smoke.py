"""What `helm test` asks of a gateway: `smoke.py URL MODEL`, with a key in API_KEY if there is one.

Alive, ready, and the model is there; with a key, or where none is needed, a chat answer too.
"""

import json
import os
import sys
import urllib.error
import urllib.request


def ask(url: str, key: str, body: dict | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"content-type": "application/json"})
    if key:
        request.add_header("authorization", f"Bearer {key}")
    if body is not None:
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def main(url: str, model: str, key: str) -> None:
    for path in ("/livez", "/readyz"):
        status, text = ask(url + path, "")
        if status != 200:
            sys.exit(f"{path}: {status} {text}")
    status, text = ask(url + "/v1/models", key)
    if status == 401 and not key:
        print("alive and ready; no key was given, so no model was asked")
        return
    names = [entry["id"] for entry in json.loads(text).get("data", [])]
    if model not in names:
        sys.exit(f"/v1/models: {status}: {model} is not among {names}")
    question = {
        "model": model,
        "max_tokens": 16,
        "messages": [{"role": "user", "content": "Hello!"}],
    }
    status, text = ask(url + "/v1/chat/completions", key, question)
    if status != 200:
        sys.exit(f"/v1/chat/completions: {status} {text}")
    print(f"{model} answers: {json.loads(text)['choices'][0]['message']['content']!r}")


main(sys.argv[1], sys.argv[2], os.environ.get("API_KEY", ""))
