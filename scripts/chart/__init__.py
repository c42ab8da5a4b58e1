"""Writes what follows from helm/bon-gateway/values.yaml: ``python -m scripts.chart``.

``values.schema.json`` and the table of values in the chart's README come from the values, their
comments, the servers' own settings and Kubernetes' own schemas, so that none says what another
does not.
"""
