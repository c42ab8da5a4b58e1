"""The chart's pods for the demo models, with what a cluster would add: names, Secrets, a generator.

The generator is an image of the project too: the reward server's has all that the embedded demo
policy needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.image_build import IMAGES
from tests.helm import kit
from tests.image.container import Container, Start
from tests.image.images import Image
from tests.image.kubelet import Object, Pod

PREFIX = f"{kit.RELEASE}-bon-gateway"
GENERATOR_HOST = "generator.models.svc"
GENERATOR_PORT = 8000
BEHIND_PORT = 8001
"""Where the generator's pod listens, behind its Service."""
DEMO_POLICY = "demo-single"
KEYS = "gateway-keys"
CALLERS_KEY = "callers-key"
TRAINING_DATA = "training-data"


def values(reward_model: str, policy_model: str) -> dict[str, Any]:
    """Of a release that generates elsewhere and scores here, on the CPU."""
    return {
        "gateway": {
            "settings": {
                "server": {"drain_delay_s": 2, "drain_grace_s": 30},
                "policies": {
                    "demo": {
                        "type": "vllm",
                        "urls": [f"http://{GENERATOR_HOST}:{GENERATOR_PORT}"],
                        "model": DEMO_POLICY,
                        # The generator behind it draws one sample a request.
                        "fan_out": "separate",
                        "probe_interval_s": 0.2,
                    }
                },
                "models": {
                    "demo": {
                        "policy": "demo",
                        "reward": "demo",
                        "strategy": {"type": "best_of_n", "n": 4},
                    }
                },
            },
            "apiKeys": {"existingSecret": KEYS},
            # No Service leads from one port to another here.
            "service": {"port": 8080},
        },
        "rewardServers": {
            "demo": {
                "model": reward_model,
                "modelInImage": True,
                "gpu": {"count": 0},
                "settings": {"threads": 1},
                "drainDelaySeconds": 1,
                "drainSeconds": 20,
            }
        },
        "trainers": {
            "demo": trainer(policy_model, epochs=1),
            "endless": trainer(policy_model, epochs=100_000),
        },
        "test": {"apiKey": {"existingSecret": CALLERS_KEY}},
    }


def trainer(model: str, *, epochs: int) -> dict[str, Any]:
    return {
        "command": "sft",
        "gpu": {"count": 0},
        "config": {
            "model": model,
            "train": "/data/train.jsonl",
            "output": "tuned",
            "batch_size": 2,
            "epochs": epochs,
        },
        "pod": {
            "extraVolumes": [{"name": "data", "configMap": {"name": TRAINING_DATA}}],
            "extraVolumeMounts": [{"name": "data", "mountPath": "/data"}],
        },
    }


class Cluster:
    """Starts pods of one rendered release."""

    def __init__(
        self,
        store: Path,
        release: Mapping[str, Any],
        extra_objects: list[Object],
        new_folder: Callable[[str], Path],
    ) -> None:
        self._images = {IMAGES[target]: Image.read(store, target) for target in IMAGES}
        self._rendered = kit.render(release)
        self._objects = [*self._rendered, *extra_objects]
        self._new_folder = new_folder

    def pod(self, kind: str, name: str) -> Pod:
        """The pod of a workload whose name begins so, in the image that its template names."""
        (found,) = [
            workload
            for workload in kit.of_kind(self._rendered, kind)
            if workload["metadata"]["name"].startswith(f"{PREFIX}-{name}")
        ]
        template = found if kind == "Pod" else found["spec"]["template"]
        repository, _, tag = template["spec"]["containers"][0]["image"].rpartition(":")
        image = self._images[repository]
        assert tag == image.config["Labels"]["org.opencontainers.image.version"]
        services = kit.of_kind(self._rendered, "Service")
        return Pod(
            template,
            image,
            name=name,
            folder=self._new_folder(name),
            objects=self._objects,
            hosts=[GENERATOR_HOST, *(service["metadata"]["name"] for service in services)],
        )

    def generator(self) -> Container:
        image = self._images[IMAGES["reward-server"]]
        return Container(
            Start(
                image,
                "generator",
                command=["/app/bin/bon-gateway"],
                args=["serve", "--host", "127.0.0.1", "--port", str(BEHIND_PORT)],
            ),
            self._new_folder("generator"),
        )
