"""A layer with room holds what a plain one holds."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from bon_gateway.backends.policy.embedded.cache import ROOM, RoomyLayer, make_room


def states(rows: int, tokens: int) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 2, tokens, 3), torch.randn(rows, 2, tokens, 4)


def filled(tokens: int) -> DynamicLayer:
    layer = DynamicLayer()
    layer.update(*states(1, tokens))
    return layer


def test_it_holds_what_a_plain_layer_holds() -> None:
    """Over growth beyond the first room, rows that leave and tokens that are taken back."""
    torch.manual_seed(0)
    plain = filled(5)
    roomy = RoomyLayer(plain)
    for step in range(2 * ROOM):
        if step == 3:
            for layer in (plain, roomy):
                layer.reorder_cache(torch.LongTensor([0, 0, 0, 0]))
        if step == 20:
            for layer in (plain, roomy):
                layer.reorder_cache(torch.LongTensor([3, 1]))
        if step == 30:
            for layer in (plain, roomy):
                layer.crop(-2)
        assert plain.keys is not None
        new = states(plain.keys.shape[0], 1 + step % 3)
        for found, expected in zip(roomy.update(*new), plain.update(*new), strict=True):
            assert torch.equal(found, expected)
        assert roomy.get_seq_length() == plain.get_seq_length()


def test_a_token_does_not_copy_what_is_held() -> None:
    layer = RoomyLayer(filled(5))
    places = {layer.update(*states(1, 1))[0].data_ptr() for _ in range(ROOM)}
    assert len(places) <= 2


def test_only_plain_layers_are_replaced() -> None:
    cache = DynamicCache()
    cache.layers.extend([filled(2), DynamicSlidingWindowLayer(4), DynamicLayer()])
    make_room(cache)
    kinds = [RoomyLayer, DynamicSlidingWindowLayer, DynamicLayer]
    assert [type(layer) for layer in cache.layers] == kinds
    make_room(object())
