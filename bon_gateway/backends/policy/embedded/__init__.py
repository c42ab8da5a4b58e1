"""A causal language model in the gateway's own process.

``params`` and ``prompt`` turn a request into numbers. ``engine`` owns the worker thread and gives
each request its turns. ``generation`` draws the candidates of one request with ``network`` and
``sampler``. ``text`` and ``logprobs`` turn tokens back into what a client reads. Only ``network``,
``sampler``, ``generation``, ``logprobs`` and ``loading`` import torch, and nothing imports them
before the model is loaded.
"""
