"""`spotd token create`: a token for its owner, and its hash for the configuration."""

import click

from spotd.web.api.auth import hash_of, new_token


@click.group()
def token() -> None:
    """Make tokens for the HTTP API."""


@token.command()
@click.option("--name", required=True, help="Who will use it, as the journal shows it.")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator", "admin"]),
    required=True,
    help="viewer reads; operator also moves hosts and freezes; admin also changes aggregates.",
)
def create(name: str, role: str) -> None:
    """Print a new token, which is shown this once, and what the configuration must hold of it."""
    made = new_token()
    click.echo(made)
    click.echo("# The token is above. Put its hash under api.tokens and reload:", err=True)
    click.echo(f"- {{name: {name!r}, role: {role}, hash: {hash_of(made)!r}}}", err=True)
