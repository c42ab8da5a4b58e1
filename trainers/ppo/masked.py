"""Mean, variance and whitening over the tokens of answers, ignoring the padding."""

from torch import Tensor

EPSILON = 1e-8


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Scalar sum of `values` where `mask` (bool, of the same shape) is true.

    Padding is replaced, not multiplied by 0: a NaN there stays outside.
    """
    return values.masked_fill(~mask, 0.0).sum()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Scalar mean over the true positions of `mask`."""
    return masked_sum(values, mask) / mask.sum()


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """Scalar unbiased variance (divided by n - 1); 0 for a single position."""
    centred = values - masked_mean(values, mask)
    return masked_sum(centred.square(), mask) / (mask.sum() - 1).clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale to mean 0 and unbiased variance 1 over the mask; the padding becomes 0.

    The mean is not added back: for advantages it is a baseline that favours all tokens alike.
    """
    centred = values - masked_mean(values, mask)
    scaled = centred * (masked_variance(values, mask) + EPSILON).rsqrt()
    return scaled.masked_fill(~mask, 0.0)


def explained_variance(predicted: Tensor, actual: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(actual - predicted) / Var(actual): 1 is a perfect value model, 0 a constant one."""
    unexplained = masked_variance(actual - predicted, mask)
    return 1 - unexplained / (masked_variance(actual, mask) + EPSILON)
