"""Text of others, made so that it cannot steer a terminal: what would is shown as an escape."""


def visible(text: str, *, keep: str = "") -> str:
    r"""The text with controls, bidi overrides, zero-width and line separators as `\x1b`, `\u202e`.

    Args:
        text: Whatever it holds; plain spaces and printable letters of all scripts stay.
        keep: Characters that stay as they are, such as a line break in a traceback.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def visible_within(text: str, most: int, *, keep: str = "") -> str:
    """At most so many characters of the visible text; the last is … where more would follow."""
    told = visible(text[: most + 1], keep=keep)
    return told if len(told) <= most else told[: most - 1] + "…"
