"""Makes the JSON of spotd's Grafana boards from code; `python -m generate` in `grafana/` writes it anew."""
