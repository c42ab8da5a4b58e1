"""What an operator can set. Validates, reads nothing and builds nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from bon_common.http.settings import LONGEST_S, HttpServerSettings
from reward_server.model_settings import (
    CLOSED,
    EnsembleSettings,
    ModelKeys,
    ModelSettings,
    ServedSettings,
)


class Settings(HttpServerSettings, ModelKeys):
    """The reward server's settings; unknown keys are an error.

    One model is described by the keys of a model at the top. With several in `models`, those keys
    are what each of them begins with.
    """

    model_config = CLOSED

    model: str | None = Field(default=None, min_length=1)
    """Checkpoint folder, or hub id, of a sequence-classification model or a process reward model;
    or the folder of an ensemble."""
    models: Mapping[str, ServedSettings] = Field(default_factory=dict)
    """Several models by the names that clients use; instead of `model`."""

    port: int = Field(default=8081, ge=0, le=65535)
    """0 takes a free one and logs it."""
    max_body_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    """Largest body of a request. The default is the gateway's plus 32 KiB for each of 64 answers;
    raise it together with the gateway's `limits.max_body_bytes`."""
    max_json_values: int = Field(default=200_000, ge=1)
    """Most values (members of objects, elements of lists) in one body. A body of very many small
    ones holds up other clients longer than its size suggests."""
    drain_grace_s: float = Field(default=30.0, ge=0, le=LONGEST_S)
    """Seconds that requests under way may take after SIGTERM."""
    api_keys_file: str | None = Field(default=None, min_length=1)
    """File with a line `name: sha256:<hex>` for each caller, as `bon-gateway hash-key` prints them.
    The server reads it again on SIGHUP. A file without any is an error. Without this file and the
    environment variable `REWARD_SERVER_API_KEYS` (`name:key,name:key`) everyone is let in."""

    @property
    def served(self) -> dict[str, ModelSettings | EnsembleSettings]:
        """What is served under each name, in the order of the settings."""
        if self.model is not None:
            one = ModelSettings(**{key: getattr(self, key) for key in ("model", *KEYS)})
            return {one.model_name: one}
        return {
            name: settings.model_copy(update={"served_model_name": name})
            if isinstance(settings, ModelSettings)
            else settings
            for name, settings in self.models.items()
        }

    @model_validator(mode="before")
    @classmethod
    def _begin_models_alike(cls, values: Any) -> Any:
        """Give each model the keys of a model that stand at the top."""
        models = values.get("models") if isinstance(values, dict) else None
        if not isinstance(models, Mapping):
            return values
        common = {key: values[key] for key in KEYS if key in values}
        begun = {
            name: {**common, **entry}
            if isinstance(entry, Mapping) and entry.get("type", "model") == "model"
            else entry
            for name, entry in models.items()
        }
        return {**values, "models": begun}

    @model_validator(mode="after")  # each message is a key, a colon and the reason
    def _are_whole(self) -> Self:
        if (self.model is None) == (not self.models):
            raise ValueError("model: name either one model, or several in `models`")
        if self.models and self.served_model_name is not None:
            raise ValueError("served_model_name: the names in `models` are what clients use")
        for name, settings in self.models.items():
            if isinstance(settings, EnsembleSettings):
                self._check_ensemble(name, settings)
            elif settings.served_model_name is not None:
                raise ValueError(f"models.{name}.served_model_name: it is served as {name!r}")
        return self

    def _check_ensemble(self, name: str, ensemble: EnsembleSettings) -> None:
        for member in ensemble.members:
            if not isinstance(self.models.get(member), ModelSettings):
                raise ValueError(f"models.{name}.members: {member!r} is not a model of this server")
        if len(set(ensemble.members)) < len(ensemble.members):
            raise ValueError(f"models.{name}.members: one of them is named twice")
        for member in ensemble.normalisation:
            if member not in ensemble.members:
                raise ValueError(f"models.{name}.normalisation: {member!r} is not a member")


KEYS = tuple(ModelKeys.model_fields)
