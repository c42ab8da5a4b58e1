"""HTTP/1.1 as the gateway speaks it to upstreams: connections, answers, errors."""
