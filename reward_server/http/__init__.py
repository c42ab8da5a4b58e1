"""The service over HTTP: routes, keys, errors, and the models while they load and drain."""
