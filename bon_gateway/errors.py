"""Every error that a caller of the gateway can see, each with its HTTP status.

GatewayError                    500  internal_error
├── BadRequestError             400  invalid_value, missing_parameter, ...
├── AuthenticationError         401  invalid_api_key
├── NotFoundError               404  model_not_found, not_found
├── MethodNotAllowedError       405  method_not_allowed
├── BodyTooLargeError           413  body_too_large
├── UnsupportedMediaTypeError   415  unsupported_media_type
├── RateLimitedError            429  rate_limit_exceeded     + Retry-After
├── OverloadedError             503  overloaded, draining    + Retry-After
├── DeadlineError               504  deadline_exceeded
├── NoValidCandidateError       502  no_valid_candidate
├── PolicyError                      what a policy backend could not do
│   ├── PolicyRefusedError      4xx  the upstream's own code; asking again is useless
│   ├── PolicyFailedError       502  upstream_error          (retryable)
│   ├── PolicyUnreachableError  503  upstream_unavailable    (retryable) + Retry-After
│   │   └── NoUpstreamError          no replica is up; asking again at once is useless
│   ├── PolicyOverloadedError   503  upstream_overloaded     (retryable) + Retry-After
│   ├── PolicyTimeoutError      504  upstream_timeout
│   └── NoConfidenceError       502  confidence_unavailable
├── EmbedderError               503  embedder_unavailable    + Retry-After
└── RewardError                 503  reward_unavailable      (retryable) + Retry-After
    ├── NoRewardError           503  reward_unavailable      + Retry-After
    ├── AbstainedError          503  reward_abstained        + Retry-After
    └── RewardRefusedError      422  reward_refused
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from bon_common.http.quoted import MESSAGE, PARAM, quoted


class GatewayError(Exception):
    """Base of the tree. ``param`` names the request's parameter at fault, if one is."""

    status: int = 500
    kind: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    """Whether drawing the same candidate again may succeed."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status
        self.message = message
        self.param = param
        self.code = code or self.default_code
        if retry_after is None and self.status in (429, 503):
            retry_after = 1.0
        self.retry_after = retry_after
        """Seconds after which asking again may succeed. Always set for 429 and 503."""

    def body(self) -> dict[str, Any]:
        """OpenAI's error object; absent fields are left out."""
        error: dict[str, Any] = {"message": quoted(self.message, MESSAGE), "type": self.kind}
        if self.param is not None:
            error["param"] = quoted(self.param, PARAM)
        error["code"] = self.code
        return {"error": error}


class BadRequestError(GatewayError):
    status = 400
    kind = "invalid_request_error"
    default_code = "invalid_value"

    @classmethod
    def at(cls, param: str, reason: str) -> Self:
        """The error whose message begins with the parameter that it names."""
        return cls(f"{param}: {reason}", param=param)


class AuthenticationError(GatewayError):
    status = 401
    kind = "authentication_error"
    default_code = "invalid_api_key"


class NotFoundError(GatewayError):
    status = 404
    kind = "invalid_request_error"
    default_code = "not_found"


class MethodNotAllowedError(GatewayError):
    """``allow`` lists the methods that the path takes: the value of the ``allow`` header."""

    status = 405
    kind = "invalid_request_error"
    default_code = "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class BodyTooLargeError(GatewayError):
    status = 413
    kind = "invalid_request_error"
    default_code = "body_too_large"


class UnsupportedMediaTypeError(GatewayError):
    status = 415
    kind = "invalid_request_error"
    default_code = "unsupported_media_type"


class RateLimitedError(GatewayError):
    status = 429
    kind = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class OverloadedError(GatewayError):
    status = 503
    default_code = "overloaded"


class DeadlineError(GatewayError):
    status = 504
    default_code = "deadline_exceeded"


class NoValidCandidateError(GatewayError):
    status = 502
    default_code = "no_valid_candidate"


class PolicyError(GatewayError):
    """A policy backend could not produce a candidate."""

    status = 502
    default_code = "upstream_error"


class PolicyRefusedError(PolicyError):
    """The upstream refused the request with a 4xx. That is its ``status``, too."""

    status = 400
    kind = "invalid_request_error"
    default_code = "upstream_refused"


class PolicyFailedError(PolicyError):
    """``spoilt``: an answer came, but it cannot be used. If it held several candidates, one of them
    may have spoilt it for all."""

    retryable = True

    def __init__(self, message: str, *, spoilt: bool = False) -> None:
        super().__init__(message)
        self.spoilt = spoilt


class PolicyUnreachableError(PolicyError):
    status = 503
    default_code = "upstream_unavailable"
    retryable = True


class NoUpstreamError(PolicyUnreachableError):
    retryable = False


class PolicyOverloadedError(PolicyError):
    status = 503
    default_code = "upstream_overloaded"
    retryable = True


class PolicyTimeoutError(PolicyError):
    status = 504
    default_code = "upstream_timeout"


class NoConfidenceError(PolicyError):
    """The policy gives no log-probabilities, and the strategy chooses by them."""

    default_code = "confidence_unavailable"


class EmbedderError(GatewayError):
    """The embedder could not embed. The strategy's fallback decides what happens."""

    status = 503
    default_code = "embedder_unavailable"


class RewardError(GatewayError):
    """The reward backend could not score. The served model's fallback decides what happens."""

    status = 503
    default_code = "reward_unavailable"
    retryable = True
    loss: ClassVar[str] = "reward_unavailable"
    """The mark of an answer that lost its rewards to this error."""

    @property
    def divisible(self) -> bool:
        """Whether some of the answers might be scored if they were sent without the others."""
        return False


class NoRewardError(RewardError):
    """No replica is up, or none takes this gateway's calls: asking again at once is useless."""

    retryable = False


class AbstainedError(RewardError):
    """A judge gave no readable verdict."""

    default_code = "reward_abstained"
    retryable = False
    loss = "reward_abstained"


class RewardRefusedError(RewardError):
    """The reward model cannot read its input, and never will.

    ``answer`` is the index of the answer at fault, if it is a single one. ``too_many`` says that
    fewer answers at once might be read.
    """

    status = 422
    kind = "invalid_request_error"
    default_code = "reward_refused"
    retryable = False
    loss = "reward_refused"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        answer: int | None = None,
        too_many: bool = False,
    ) -> None:
        super().__init__(message, param=param)
        self.answer = answer
        self.too_many = too_many

    @property
    def divisible(self) -> bool:
        return self.answer is not None or self.too_many
