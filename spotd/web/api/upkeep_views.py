"""What the API shows of the agents, their cache and a refresh."""

from pydantic import BaseModel, Field


class Run(BaseModel):
    """One run of an agent."""

    timestamp: float = Field(description="Unix time at its end, in seconds.")
    duration: float = Field(description="Seconds.")
    reason: str | None = Field(description="Code of the failure; null: it brought a whole answer.")
    message: str | None


class SourceView(BaseModel):
    """An agent's health; failures are remembered longer than successes."""

    agent: str
    running: bool
    succeeded: bool | None = Field(description="Of the last finished run; null before the first.")
    last_success_timestamp: float | None
    last_failure_timestamp: float | None
    last_error: str | None = Field(description="Of the last failure, also after a later success.")
    last_error_reason: str | None
    duration: float | None = Field(description="Of the last finished run, in seconds.")
    age: float | None = Field(description="Seconds since the last success; null: never.")
    retry_timestamp: float | None = Field(description="The cloud asked not to be asked before then.")
    successes: list[Run] = Field(description="The last few, newest first.")
    failures: list[Run] = Field(description="The last few dozens, newest first.")


class CacheLayerView(BaseModel):
    """One layer of the cache."""

    layer: str
    age: float | None = Field(description="Seconds since what it holds was asked for; null: empty.")
    entries: int | None = Field(description="Things that it holds; null: empty.")
    lifetime: float = Field(description="Seconds for which an answer counts as fresh; 0: asked each time.")
    max_age: float | None = Field(description="Seconds for which the last good answer is shown.")
    requests: int
    hits: int
    hit_ratio: float | None = Field(description="Hits over requests; null without requests.")


class Cleared(BaseModel):
    """What clearing did."""

    layers: list[str] = Field(description="Asked anew by the next collection; shown until it answers.")
    host: str | None = None


class Refreshed(BaseModel):
    """How a forced collection went."""

    duration: float = Field(description="Seconds.")
    failures: dict[str, str] = Field(description="Agents that brought nothing, each with a sentence.")
    unfinished: list[str] = Field(description="Agents that were still running.")
    asked_together: int = Field(description="Requests that this one collection answered.")
