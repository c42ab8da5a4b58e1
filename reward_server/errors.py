"""Everything that can go wrong while scoring, with the HTTP status that tells a caller what to do.

ScoreError
├── InvalidRequestError        400  the request can never succeed as it is
│   ├── RenderError            400  the conversation cannot be turned into tokens
│   ├── ContextLengthError     400  prompt and answer do not fit the model
│   ├── TooManySequencesError  400  one request holds more candidates than the whole queue
│   └── TooManyTokensError     400  the same in tokens
├── UnauthorizedError          401
├── ModelNotFoundError         404
├── BodyTooLargeError          413
├── ModelFailureError          500  the model raised; the server goes on
│   └── NonFiniteRewardError   500  the model answered NaN or infinity
├── UnavailableError           503  try again after `retry_after_s`
│   ├── QueueFullError         503
│   ├── NotReadyError          503  the model is still being loaded
│   ├── DrainingError          503  the server is going away
│   └── BatchMemoryError       503  did not fit, even in half the batch
└── DeadlineError              504

StartupError                        the settings name a model that cannot be served right
StepTokenError                      the tokenizer has no single token for the mark of steps
"""

from __future__ import annotations


class ScoreError(Exception):
    """A failed scoring request; `param` is the JSON path of the part at fault, if one is."""

    status = 500
    type = "server_error"
    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidRequestError(ScoreError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class RenderError(InvalidRequestError):
    """Raised with a `param` relative to the item; the scorer puts the item in front of it."""

    code = "unrenderable_conversation"


class ContextLengthError(InvalidRequestError):
    code = "context_length_exceeded"


class TooManySequencesError(InvalidRequestError):
    code = "too_many_sequences"


class TooManyTokensError(InvalidRequestError):
    code = "too_many_tokens"


class UnauthorizedError(ScoreError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class ModelNotFoundError(ScoreError):
    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class BodyTooLargeError(ScoreError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class ModelFailureError(ScoreError):
    code = "model_failure"


class NonFiniteRewardError(ModelFailureError):
    code = "non_finite_reward"


class UnavailableError(ScoreError):
    status = 503
    type = "overloaded_error"
    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFullError(UnavailableError):
    code = "queue_full"


class NotReadyError(UnavailableError):
    code = "model_loading"


class DrainingError(UnavailableError):
    code = "draining"


class BatchMemoryError(UnavailableError):
    code = "out_of_memory"


class DeadlineError(ScoreError):
    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"


class StartupError(Exception):
    """The model cannot be served with these settings; `key` names the setting to change."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


class StepTokenError(ValueError):
    """The mark behind steps is not one token of the vocabulary."""
