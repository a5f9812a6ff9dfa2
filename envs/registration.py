"""Registers the environments with Gymnasium, by entry points in words: nothing heavy is loaded."""

from gymnasium.envs.registration import register, registry

ENTRY_POINTS = {
    "ErmGym/CandidateGeneration-v0": "erm_gym.envs.text.candidate:candidate_generation",
    "ErmGym/Conversation-v0": "erm_gym.envs.text.conversation:conversation",
    "ErmGym/EmotionControl-v0": "erm_gym.envs.text.control:emotion_control",
    "ErmGym/TokenGeneration-v0": "erm_gym.envs.text.token:token_generation",
}


def register_environments() -> None:
    """Registers every id in `ENTRY_POINTS`; calling it again changes nothing."""
    for env_id, entry_point in ENTRY_POINTS.items():
        if env_id not in registry:
            register(
                id=env_id, entry_point=f"{entry_point}_env", vector_entry_point=f"{entry_point}_vec"
            )
