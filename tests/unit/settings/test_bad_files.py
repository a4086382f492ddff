"""Every way a configuration file can be wrong, with the exact lines that an operator reads."""

import os
from pathlib import Path

import pytest

from spotd.settings import ConfigurationError, load_settings

CACHE_KEYS = (
    "backend, redis_url, netbox_seconds, aggregates_seconds, snapshot_seconds, netbox_max_age_seconds, "
    "aggregates_max_age_seconds, servers_max_age_seconds, gpus_max_age_seconds"
)
TOP_KEYS = "openstack, netbox, aggregates, gpus, cache, collection, rules, moves, journal, web, api, log"
ANCHORS = "anchors and aliases are not supported; text that begins with & or * needs quotes"
TAGS = "tags (!…) are not supported; text that begins with ! needs quotes"
NETBOX = "netbox:\n  url: https://netbox.example.com\n  token: abc\n"
LISTEN = "must be HOST:PORT with a port of 0 to 65535, such as 127.0.0.1:8080 or [::1]:8080"
URL = "is not a URL with http:// or https:// and a host, such as https://netbox.example.com"
DURATION = "a number of more than 0 and at most 31,536,000"
LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"

BAD_FILES = {
    # The text as YAML.
    "top-level-list": ("- a\n", ":1: must hold keys with values at the top, such as 'cache:'"),
    "top-level-text": ("hello\n", ":1: must hold keys with values at the top, such as 'cache:'"),
    "two-documents": ("log: {}\n---\nlog: {}\n", ":2:1: is not valid YAML: found another document"),
    "nested-colon": ("log: level: info\n", ":1:11: is not valid YAML: mapping values are not allowed here"),
    "tab": (
        "log:\n\tlevel: info\n",
        ":2:1: is not valid YAML: found character '\\t' that cannot start any token",
    ),
    "control-character": (
        "log:\n  level: \x01\n",
        ":2: is not valid YAML: holds a control character",
    ),
    "nul": (
        'collection:\n  state_directory: "/a\\0b"\n',
        ":2: text with \\0, or with half of a surrogate pair, cannot be used",
    ),
    "half-a-pair": (
        'openstack:\n  cloud: "\\ud800"\n',
        ":2: text with \\0, or with half of a surrogate pair, cannot be used",
    ),
    "alias": ("log: *all\n", f":1: {ANCHORS}"),
    "anchor": ("log: &all {}\n", f":1: {ANCHORS}"),
    "billion-laughs": (LAUGHS, f":1: {ANCHORS}"),
    "deep": ("log: " + "[" * 30 + "]" * 30, ":1: is nested deeper than 20 levels"),
    "tag": ("log: !!python/object/apply:os.system [ls]\n", f":1: {TAGS}"),
    "own-tag": ("openstack:\n  cloud: !vault x\n", f":2: {TAGS}"),
    "unknown-tag-handle": (
        "openstack: {cloud: !hunter!two x}\n",
        ":1:20: is not valid YAML: found undefined tag handle '!…'",
    ),
    "duplicate-group": (
        "cache: {}\nlog: {}\ncache: {}\n",
        ":3: duplicate key 'cache' (first on line 1)",
    ),
    "duplicate-key": (
        "log:\n  level: info\n  level: debug\n",
        ":3: duplicate key 'level' (first on line 2)",
    ),
    "list-as-key": ("? [a]\n: b\n", ":1: a key must be one word, not a list or a group"),
    "unreadable-number": (
        "cache:\n  netbox_seconds: 0x_\n",
        ":2: a number that YAML cannot read; put it in quotes if it is text",
    ),
    # Keys.
    "unknown-group": ("cash: {}\n", f":1: cash: unknown key; did you mean cache? (keys here: {TOP_KEYS})"),
    "unknown-key": (
        "cache:\n  netbox_second: 1\n",
        f":2: cache.netbox_second: unknown key; did you mean netbox_seconds? (keys here: {CACHE_KEYS})",
    ),
    "unknown-key-far-from-all": ("zzz: 1\n", f":1: zzz: unknown key (keys here: {TOP_KEYS})"),
    "unknown-key-in-list": (
        "aggregates:\n  patterns:\n  - {name: x, pool: spot}\n  - name: y\n    pol: spot\n",
        ":4: aggregates.patterns[1].pool: is required",
        ":5: aggregates.patterns[1].pol: unknown key; did you mean pool? (keys here: name, pool, variant)",
    ),
    "merge-key": ("log:\n  <<: {level: info}\n", ":2: log.<<: unknown key (keys here: level, format)"),
    "missing-url": ("netbox:\n  token: abc\n", ":1: netbox.url: is required"),
    "query-that-pages": (
        NETBOX + "  query: {role: gpu, limit: '10'}\n",
        (
            ":4: netbox: query.limit: is spotd's own, as are all of limit, offset, start, ordering, fields,"
            " omit, exclude, brief, format, id__gte, last_updated__gte; give filters, such as role or tag"
        ),
    ),
    # Values.
    "choice": (
        "cache:\n  backend: mongo\n",
        ":2: cache.backend: 'mongo' is not valid; choices: memory, redis",
    ),
    "negative-lifetime": (
        "cache:\n  netbox_seconds: -5\n",
        f":2: cache.netbox_seconds: -5 is not valid; must be {DURATION}",
    ),
    "milliseconds": (
        "cache:\n  netbox_seconds: 1800000000\n",
        f":2: cache.netbox_seconds: 1800000000 is not valid; must be {DURATION}",
    ),
    "yes-is-no-number": (
        "cache:\n  netbox_seconds: yes\n",
        f":2: cache.netbox_seconds: true is not valid; must be {DURATION}",
    ),
    "infinite": (
        "cache:\n  netbox_seconds: .inf\n",
        f":2: cache.netbox_seconds: inf is not valid; must be {DURATION}",
    ),
    "base-sixty": (
        "cache:\n  netbox_seconds: 30:00\n",
        f":2: cache.netbox_seconds: '30:00' is not valid; must be {DURATION}",
    ),
    "blank-value": (
        "cache:\n  netbox_seconds:\n",
        f":2: cache.netbox_seconds: has no value; must be {DURATION}",
    ),
    "snapshot-too-long": (
        "cache:\n  snapshot_seconds: 90\n",
        ":2: cache.snapshot_seconds: 90 is not valid; must be a number of at least 1 and at most 60",
    ),
    "fraction": (
        "openstack:\n  page_size: 1.5\n",
        ":2: openstack.page_size: 1.5 is not valid; must be a whole number of at least 1 and at most 1,000",
    ),
    "norway": (
        "openstack:\n  cloud: no\n",
        ":2: openstack.cloud: false is not valid; must be text; put it in quotes",
    ),
    "text-for-list": (
        f"{NETBOX}  gpu_roles: gpu\n",
        ":4: netbox.gpu_roles: 'gpu' is not valid; must be a list of text",
    ),
    "list-for-mapping": (
        "gpus:\n  per_host: [8]\n",
        (
            ":2: gpus.per_host: a list is not valid; must be a mapping of text to "
            "a whole number of at least 0 and at most 1,024"
        ),
    ),
    "bad-item-of-union": (
        f"{NETBOX}  query: {{role: [gpu, 5], site: 7}}\n",
        ":4: netbox.query.role[1]: 5 is not valid; must be text; put it in quotes",
        ":4: netbox.query.site: 7 is not valid; must be text or a list of text; put it in quotes",
    ),
    "text-for-group": (
        "netbox: hunter2\n",
        (
            ":1: netbox: the value is not valid; must be a group of keys (url, token, token_file, "
            "verify_tls, request_timeout_seconds, query, nvlink_field, gpu_count_field, gpu_tags, gpu_roles, "
            "full_resync_seconds)"
        ),
    ),
    "long-value": (
        f"log:\n  level: {'x' * 200}\n",
        f":2: log.level: '{'x' * 79}…' is not valid; choices: debug, info, warning, error",
    ),
    "pattern": (
        "aggregates:\n  patterns:\n  - name: (\n    pool: spot\n",
        (
            ":3: aggregates.patterns[0].name: '(' is not a regular expression: "
            "missing ), unterminated subpattern at position 0"
        ),
    ),
    "pattern-group": (
        "aggregates:\n  patterns:\n  - {name: '(?P<gpu>.+)', pool: spot}\n",
        (
            ":3: aggregates.patterns[0].name: '(?P<gpu>.+)' has an unknown group 'gpu'; "
            "choices: gpu_type, variant, contract"
        ),
    ),
    "flavor-pattern": (
        "gpus:\n  flavor_name: x8\n",
        r":2: gpus.flavor_name: 'x8' needs a group for the number of GPUs, such as (?P<gpus>\d+)",
    ),
    "port": (
        "web:\n  listen_address: localhost:99999\n",
        f":2: web.listen_address: 'localhost:99999' {LISTEN}",
    ),
    "no-port": ("web:\n  listen_address: localhost\n", f":2: web.listen_address: 'localhost' {LISTEN}"),
    "bare-ipv6": ("web:\n  listen_address: ::1:80\n", f":2: web.listen_address: '::1:80' {LISTEN}"),
    "wrong-ipv6": ("web:\n  listen_address: '[::g]:80'\n", f":2: web.listen_address: '[::g]:80' {LISTEN}"),
    "url-scheme": ("netbox: {url: ftp://n, token: abc}\n", f":1: netbox.url: 'ftp://n' {URL}"),
    "url-port": (
        "netbox: {url: 'http://n:port', token: abc}\n",
        ":1: netbox.url: 'http://n:port' is not a URL, such as https://netbox.example.com",
    ),
    "url-query": (
        "netbox: {url: 'http://n/?a=b', token: abc}\n",
        ":1: netbox.url: 'http://n/?a=b' must end before '?' and '#'",
    ),
    "url-credentials": (
        "netbox: {url: 'http://admin:hunter2@n', token: abc}\n",
        ":1: netbox.url: 'http://***@n' must not hold credentials: they belong in token_file",
    ),
    "token-number": (
        "netbox: {url: http://n, token: 12345678}\n",
        ":1: netbox.token: the value is not valid; must be text (secret); put it in quotes",
    ),
    "token-empty": ("netbox: {url: http://n, token: ''}\n", ":1: netbox.token: the value is empty"),
    "token-two-words": (
        "netbox: {url: http://n, token: Token hunter2}\n",
        (
            ":1: netbox.token: the value must be one word of printable ASCII characters, "
            "without 'Token' or 'Bearer' before it"
        ),
    ),
    # Values that do not go together.
    "no-token": (
        "log: {}\nnetbox:\n  url: https://n\n",
        ":2: netbox: no token: set token_file, or token by the environment as SPOTD_NETBOX__TOKEN",
    ),
    "two-tokens": (
        "netbox:\n  url: https://n\n  token_file: t\n  token: abc\n",
        ":4: netbox: token and token_file are both set: keep one",
    ),
    "huge-repeat": (
        "aggregates:\n  patterns:\n  - {name: 'a{99999999999}', pool: spot}\n",
        (
            ":3: aggregates.patterns[0].name: 'a{99999999999}' is not a regular expression: "
            "the repetition number is too large"
        ),
    ),
    "long-label": (
        f"netbox: {{url: 'http://{'n' * 64}.example.com', token: abc}}\n",
        (
            f":1: netbox.url: 'http://{'n' * 64}.example…' has a host that is no name: "
            "its parts are of 1 to 63 characters"
        ),
    ),
    "redis-without-url": ("cache:\n  backend: redis\n", ":2: cache: backend redis needs redis_url"),
    "shown-shorter-than-fresh": (
        "cache:\n  snapshot_seconds: 5\n  netbox_seconds: 90000\n",
        ":3: cache: netbox_max_age_seconds (86400) must be at least netbox_seconds (90000)",
    ),
    "duplicate-names": (
        "aggregates:\n  patterns:\n  - {name: a, pool: spot}\n  - {name: a, pool: contract}\n",
        ":2: aggregates: patterns has the name 'a' twice: only the first would ever be used",
    ),
    # All at once, in the order of the file.
    "all-problems": (
        "log:\n  level: loud\nzzz: 1\ncache:\n  backend: mongo\n  backend: redis\n",
        ":2: log.level: 'loud' is not valid; choices: debug, info, warning, error",
        f":3: zzz: unknown key (keys here: {TOP_KEYS})",
        ":5: cache.backend: 'mongo' is not valid; choices: memory, redis",
        ":6: duplicate key 'backend' (first on line 5)",
    ),
}


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages show the path as it was given, so tests give a bare name."""
    monkeypatch.chdir(tmp_path)


def refusal(content: str | bytes) -> str:
    path = Path("spotd.yml")
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {})
    return str(caught.value)


@pytest.mark.parametrize("case", BAD_FILES)
def test_refuses_with_file_line_key_and_choices(case: str) -> None:
    content, *expected = BAD_FILES[case]

    told = refusal(content)

    assert [f"spotd.yml{line}" for line in expected] == told.splitlines()


def test_refuses_what_is_not_utf8_with_its_line() -> None:
    assert refusal(b"log: {}\n# caf\xe9\n") == "spotd.yml:2: is not UTF-8"


def test_refuses_a_file_larger_than_any_configuration() -> None:
    assert refusal("# " + "x" * 300_000) == "spotd.yml: is larger than 256 KiB"


def test_names_a_missing_file() -> None:
    with pytest.raises(ConfigurationError, match=r"^spotd.yml: cannot be read: no such file or directory$"):
        load_settings(Path("spotd.yml"), {})


def test_names_a_directory() -> None:
    with pytest.raises(ConfigurationError, match=r"^\.: cannot be read: is a directory$"):
        load_settings(Path(), {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file, whatever its mode")
def test_names_a_file_it_may_not_read() -> None:
    Path("spotd.yml").touch(mode=0)

    with pytest.raises(ConfigurationError, match=r"^spotd.yml: cannot be read: permission denied$"):
        load_settings(Path("spotd.yml"), {})
