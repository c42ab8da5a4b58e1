"""The parts of a generation that serve a chat request."""

from __future__ import annotations

from dataclasses import dataclass

from bon_gateway.edge.admission import Admission
from bon_gateway.gateway import Gateway
from bon_gateway.metrics import Metrics
from bon_gateway.recording.recorder import Recorder
from bon_gateway.settings.tree import Settings


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    gateway: Gateway
    recorder: Recorder
    admission: Admission
    metrics: Metrics
