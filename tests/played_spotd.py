"""A spotd that is played: what the real one shows only when something moves, breaks, comes or goes.

It answers `/metrics` with what spotd exposes while moves are made, one host is stranded and spotd is frozen,
and while customers gain and lose hosts: for panels that a healthy demo leaves empty.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHANGES_EVERY_SECONDS = 40.0
"""So often a host of the customer goes and another comes."""

STEPS = ("claim", "fence", "drain", "settle", "prove", "leave", "join", "verify", "release", "undo")
CYCLES = ("observing", "not_leader", "frozen", "blocked", "settled", "planned", "moved", "failed")
RULES = (("lend-evenings", "H100"), ("lend-evenings", "L40"), ("back-in-the-morning", "H100"))
WAYS = (
    ("lend-evenings", "ondemand", "spot", "done", 3.0),
    ("lend-evenings", "ondemand", "spot", "undone", 1.0),
    ("back-in-the-morning", "spot", "ondemand", "done", 2.0),
    ("back-in-the-morning", "spot", "ondemand", "refused", 1.0),
    ("(manual)", "ondemand", "runpod", "stranded", 0.2),
)
"""Rule, origin, destination, outcome, and how many a minute."""
REFUSALS = (("has_servers", 14), ("service_disabled", 3), ("keep_hosts", 2), ("flavor_left_behind", 1))


def exposition(elapsed: float, now: float) -> str:
    """The whole answer after so many seconds."""
    lines = [*_deciding(elapsed, now), *_moving(elapsed, now), *_customers(elapsed)]
    return "".join(f"{line}\n" for line in lines)


def _deciding(elapsed: float, now: float) -> Iterator[str]:
    yield 'spotd_build_info{version="0.1.0",python_version="3.11.2"} 1'
    yield 'spotd_rules_info{mode="active"} 1'
    yield "spotd_rules_last_reload_successful 1"
    yield f"spotd_rules_last_reload_success_timestamp_seconds {now - elapsed}"
    for number, (rule, gpu_type) in enumerate(RULES):
        labels = f'{{rule="{rule}",gpu_type="{gpu_type}"}}'
        if number != 1:  # a fact is missing, so that this condition is unknown
            yield f"spotd_rule_condition{labels} {int(number == 0)}"
        yield f"spotd_rule_acting{labels} {int(number == 0)}"
        yield f"spotd_rule_pending_seconds{labels} {elapsed if number == 0 else 0}"
    for rule in sorted({rule for rule, _ in RULES}):
        yield f'spotd_plan_moves{{rule="{rule}"}} 2'
        yield f'spotd_budget_remaining{{rule="{rule}"}} {3 if rule.startswith("lend") else 0}'
        for reason, hosts in REFUSALS:
            yield f'spotd_plan_refusals{{rule="{rule}",reason="{reason}"}} {hosts}'
            labels = f'rule="{rule}",decision="refuse",reason="{reason}"'
            yield f"spotd_decisions_total{{{labels}}} {hosts * elapsed / 60}"
        yield f'spotd_decisions_total{{rule="{rule}",decision="move",reason=""}} {elapsed / 20}'
    yield f"spotd_plan_timestamp_seconds {now - 3}"


def _moving(elapsed: float, now: float) -> Iterator[str]:
    totals: dict[str, float] = {}
    for rule, origin, destination, outcome, each_minute in WAYS:
        labels = f'rule="{rule}",origin_pool="{origin}",destination_pool="{destination}",outcome="{outcome}"'
        yield f"spotd_moves_total{{{labels}}} {int(each_minute * elapsed / 60)}"
        totals[outcome] = totals.get(outcome, 0.0) + each_minute * elapsed / 60
    for outcome, moves in totals.items():
        yield from _histogram("spotd_move_duration_seconds", f'outcome="{outcome}"', moves, 42.0)
    for number, step in enumerate(STEPS):
        seconds = 35.0 if step == "drain" else 0.2 + number / 10
        yield from _histogram("spotd_move_step_duration_seconds", f'step="{step}"', elapsed / 10, seconds)
    for outcome in CYCLES:
        yield f'spotd_rebalance_cycles_total{{outcome="{outcome}"}} {elapsed / (4 + len(outcome))}'
    yield "spotd_rebalance_duration_seconds 0.12"
    yield "spotd_moves_in_progress 1"
    yield "spotd_hosts_stranded 1"
    yield "spotd_frozen 1"
    yield f"spotd_frozen_since_timestamp_seconds {now - elapsed}"
    yield "spotd_leader 1"
    yield "spotd_journal_up 1"
    yield 'spotd_host_pools{host="h100-n3-007"} 0'
    yield 'spotd_host_pools{host="l40-n3-002"} 2'


def _histogram(name: str, labels: str, count: float, seconds: float) -> Iterator[str]:
    """A histogram whose values are all the same."""
    for bound in ("0.1", "1.0", "10.0", "60.0", "600.0", "+Inf"):
        yield f'{name}_bucket{{{labels},le="{bound}"}} {count if seconds <= float(bound) else 0.0}'
    yield f"{name}_sum{{{labels}}} {count * seconds}"
    yield f"{name}_count{{{labels}}} {count}"


def _customers(elapsed: float) -> Iterator[str]:
    """Three hosts of ACME, of which one goes and one comes; and an agent that fails now and then."""
    yield "spotd_fleet_hosts 3"
    yield 'spotd_out_of_stock_hosts{gpu_type="H100",reason="service_down"} 1'
    yield f'spotd_agent_failures_total{{agent="netbox",reason="timeout"}} {elapsed / 10}'
    newest = 3 + int(elapsed / CHANGES_EVERY_SECONDS)
    for host in ("h100-c-001", "h100-c-002", f"h100-c-{newest:03}"):
        facts = f'host="{host}",hypervisor_hostname="{host}",resource_provider="p-{host}",pool="contract"'
        who = 'contract="ACME",tenant="Acme Inc",owner_group="Customers",site="Canada 1",rack="CA1-R01"'
        state = 'netbox_status="active",service_status="enabled",service_state="up"'
        yield f'spotd_host_info{{{facts},gpu_type="H100",variant="",{who},{state}}} 1'


@contextmanager
def played_spotd(port: int = 0) -> Iterator[str]:
    """Serves it on loopback; yields its HOST:PORT."""
    began = time.time()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exposition(time.time() - began, time.time()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Says nothing: the test's output is for failures."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
