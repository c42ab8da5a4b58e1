"""The candidate log: what was asked, every candidate with its reward, and which one won.

It is the only place where the gateway keeps the texts of clients and models, and it is off unless
``recording.folder`` is set. ``bon-train`` reads it. A request never waits for it: a record goes
into a bounded queue (``recorder``), and one thread makes the line (``entry``, ``redaction``) and
writes it (``files``). A full queue or a full disk may cost records, which are counted, but never
requests.
"""
