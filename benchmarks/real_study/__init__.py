"""`make real-study`: best-of-N against tuned policies on a real small language model.

`plan` says which steps there are, `run` runs them and goes on where it stopped. The steps are
`bon-train` commands, and the modules `measure` (vLLM and the gateway), `rescore` (rewards of what
was drawn), `external` (published files), `figures`, `plots` and `page`. `pools` reads and writes
what was drawn; `estimates` computes.
"""
