"""The web configuration: TLS, basic authentication, headers and rate limit, in the exporter-toolkit's format.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""
