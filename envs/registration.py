"""Registers the environments with Gymnasium, by entry points in words: nothing heavy is loaded."""

from gymnasium.envs.registration import register, registry

ENTRY_POINTS = {
    "ErmGym/CandidateGeneration-v0": "erm_gym.envs.text.candidate:candidate_generation",
    "ErmGym/Conversation-v0": "erm_gym.envs.text.conversation:conversation",
    "ErmGym/EmotionControl-v0": "erm_gym.envs.text.control:emotion_control",
    "ErmGym/TokenGeneration-v0": "erm_gym.envs.text.token:token_generation",
}
"""Text environments: `_env` and `_vec` are appended."""

CLASSIC = {
    "ErmGym/AngerGrid-v0": "anger_grid:AngerGridVectorEnv",
    "ErmGym/AngerGrid-v1": "anger_grid:FairAngerGridVectorEnv",
    "ErmGym/BatteryRun-v0": "battery_run:BatteryRunVectorEnv",
    "ErmGym/BatteryRun-v1": "battery_run:FairBatteryRunVectorEnv",
    "ErmGym/BlockedWay-v0": "failure_modes:BlockedWayVectorEnv",
    "ErmGym/BlockedWay-v1": "failure_modes:FairBlockedWayVectorEnv",
    "ErmGym/Bottleneck-v0": "bottleneck:BottleneckVectorEnv",
    "ErmGym/Bottleneck-v1": "bottleneck:FairBottleneckVectorEnv",
    "ErmGym/Conflict-v0": "conflict:ConflictVectorEnv",
    "ErmGym/Conflict-v1": "conflict:FairConflictVectorEnv",
    "ErmGym/FearGrid-v0": "fear_grid:FearGridVectorEnv",
    "ErmGym/FearGrid-v1": "fear_grid:FairFearGridVectorEnv",
    "ErmGym/Gamble-v0": "gamble:GambleVectorEnv",
    "ErmGym/Gamble-v1": "gamble:FairGambleVectorEnv",
    "ErmGym/Regulation-v0": "regulation:RegulationVectorEnv",
    "ErmGym/Regulation-v1": "regulation:FairRegulationVectorEnv",
    "ErmGym/SlipperyCliff-v0": "slippery_cliff:SlipperyCliffVectorEnv",
    "ErmGym/SlipperyCliff-v1": "slippery_cliff:FairSlipperyCliffVectorEnv",
    "ErmGym/PitchBlack-v0": "pitch_black:PitchBlackVectorEnv",
    "ErmGym/PitchBlack-v1": "pitch_black:FairPitchBlackVectorEnv",
    "ErmGym/PredatorPrey-v0": "predator_prey:PredatorPreyVectorEnv",
    "ErmGym/PredatorPrey-v1": "predator_prey:FairPredatorPreyVectorEnv",
    "ErmGym/TransferGrid-v0": "transfer_grid:TransferGridVectorEnv",
    "ErmGym/TransferGrid-v1": "transfer_grid:FairTransferGridVectorEnv",
    "ErmGym/VisualTransfer-v0": "visual_transfer:VisualTransferVectorEnv",
    "ErmGym/VisualTransfer-v1": "visual_transfer:FairVisualTransferVectorEnv",
    "ErmGym/FearRing-v0": "failure_modes:FearRingVectorEnv",
    "ErmGym/FearRing-v1": "failure_modes:FairFearRingVectorEnv",
    "ErmGym/Seasons-v0": "seasons:SeasonsVectorEnv",
    "ErmGym/Seasons-v1": "seasons:FairSeasonsVectorEnv",
    "ErmGym/TwoDoors-v0": "two_doors:TwoDoorsVectorEnv",
    "ErmGym/TwoDoors-v1": "two_doors:FairTwoDoorsVectorEnv",
    "ErmGym/Contamination-v0": "contamination:ContaminationVectorEnv",
    "ErmGym/Contamination-v1": "contamination:FairContaminationVectorEnv",
    "ErmGym/LostResource-v0": "lost_resource:LostResourceVectorEnv",
    "ErmGym/LostResource-v1": "lost_resource:FairLostResourceVectorEnv",
    "ErmGym/WantingLiking-v0": "wanting_liking:WantingLikingVectorEnv",
    "ErmGym/WantingLiking-v1": "wanting_liking:FairWantingLikingVectorEnv",
    "ErmGym/Temporal-v0": "temporal:TemporalVectorEnv",
    "ErmGym/Temporal-v1": "temporal:FairTemporalVectorEnv",
    "ErmGym/Integration-v0": "integration:IntegrationVectorEnv",
    "ErmGym/Integration-v1": "integration:FairIntegrationVectorEnv",
}
"""Classic environments, by their class below `erm_gym.envs.classic`: v0 faithful, v1 fair."""


def register_environments() -> None:
    """Registers every id in `ENTRY_POINTS` and `CLASSIC`; calling it again changes nothing."""
    for env_id, entry_point in ENTRY_POINTS.items():
        if env_id not in registry:
            register(
                id=env_id, entry_point=f"{entry_point}_env", vector_entry_point=f"{entry_point}_vec"
            )
    for env_id, kind in CLASSIC.items():
        if env_id not in registry:
            making = "erm_gym.envs.classic.making:classic"
            register(
                id=env_id,
                entry_point=f"{making}_env",
                vector_entry_point=f"{making}_vec",
                kwargs={"kind": kind},
            )
