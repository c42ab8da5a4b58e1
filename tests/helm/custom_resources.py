"""Models of the custom resources. KEDA's and the Prometheus operator's come from their own
definitions; the part of the Gateway API that the chart uses is modelled here, closed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Weight = Annotated[int, Field(ge=0, le=1_000_000)]
Duration = Annotated[str, Field(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")]


class ParentRef(Closed):
    name: str
    namespace: str | None = None
    sectionName: str | None = None  # noqa: N815 - Kubernetes' name
    port: int | None = None
    group: str | None = None
    kind: str | None = None


class PathMatch(Closed):
    type: Literal["Exact", "PathPrefix", "RegularExpression"]
    value: str


class HeaderMatch(Closed):
    type: Literal["Exact", "RegularExpression"]
    name: str
    value: str


class Match(Closed):
    path: PathMatch
    headers: list[HeaderMatch] = []


class BackendRef(Closed):
    name: Name
    port: int
    weight: Weight


class Timeouts(Closed):
    request: Duration


class Rule(Closed):
    matches: list[Match] = Field(max_length=64)
    timeouts: Timeouts
    backendRefs: list[BackendRef] = Field(min_length=1, max_length=16)  # noqa: N815 - likewise


class RouteSpec(Closed):
    parentRefs: list[ParentRef] = Field(min_length=1, max_length=32)  # noqa: N815 - likewise
    hostnames: list[str] = []
    rules: list[Rule] = Field(max_length=16)


class HTTPRoute(Closed):
    apiVersion: Literal["gateway.networking.k8s.io/v1"]  # noqa: N815 - likewise
    kind: Literal["HTTPRoute"]
    metadata: dict[str, Any]
    spec: RouteSpec


KINDS = ("HTTPRoute", "PrometheusRule", "ScaledObject", "ServiceMonitor")


@cache
def models() -> Mapping[str, type[BaseModel]]:
    """By kind."""
    # They take seconds to import, which each worker would spend to collect the tests.
    from cloudcoil.models.keda.v1alpha1 import ScaledObject
    from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

    return {
        "HTTPRoute": HTTPRoute,
        "PrometheusRule": PrometheusRule,
        "ScaledObject": ScaledObject,
        "ServiceMonitor": ServiceMonitor,
    }


def unknown_keys(given: Any, kept: Any, path: str = "") -> list[str]:
    """Keys of an object that its model has dropped: the generated models are not closed."""
    if isinstance(given, dict) and isinstance(kept, dict):
        lost = [f"{path}.{key}" for key in given if key not in kept]
        return lost + [
            unknown
            for key in given
            if key in kept
            for unknown in unknown_keys(given[key], kept[key], f"{path}.{key}")
        ]
    if isinstance(given, list) and isinstance(kept, list):
        pairs = zip(given, kept, strict=True)
        return [u for i, (a, b) in enumerate(pairs) for u in unknown_keys(a, b, f"{path}[{i}]")]
    return []


def check(found: dict[str, Any]) -> list[str]:
    """What is wrong with a custom resource."""
    try:
        model = models()[found["kind"]].model_validate(found)
    except ValidationError as error:
        return [str(error)]
    return unknown_keys(found, model.model_dump(mode="json", by_alias=True, exclude_unset=True))
