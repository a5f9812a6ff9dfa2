"""A whole conversation as chat messages, for users that read it with a model."""

from __future__ import annotations

from erm_gym.feedback.episode import Episode


def messages_before(episode: Episode) -> list[dict[str, str]]:
    """All that was said before the reply of an episode, as `{"role", "content"}` messages.

    A user that answered a reply with nothing, or a reply that is empty, has no message: chat
    templates and tokenizers refuse empty ones.
    """
    said = [("user", episode.prompt.text)]
    for turn in episode.turns:
        said += [("assistant", turn.reply), ("user", turn.feedback.says)]
    return [{"role": role, "content": text} for role, text in said if text.strip()]
