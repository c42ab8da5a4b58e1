"""Labellers: each looks at the answers to one prompt and says which are better.

A labeller is a file: its settings, which open it, and its class, with the face of
`protocol.Labeller`. It is added by its settings here.
"""

from trainers.preferences.labellers.hand import HandSettings
from trainers.preferences.labellers.judge import JudgeSettings
from trainers.preferences.labellers.reward import RewardModelSettings, RewardServerSettings
from trainers.preferences.labellers.rewrite import RewriteSettings
from trainers.preferences.labellers.rules import BleuSettings, RegexSettings, RougeSettings

AnyLabeller = (
    JudgeSettings
    | BleuSettings
    | RougeSettings
    | RegexSettings
    | RewardModelSettings
    | RewardServerSettings
    | HandSettings
    | RewriteSettings
)
