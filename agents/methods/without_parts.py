"""Methods that add no part to a DQN: the baseline, kinds of replay, and references."""

from continual_arcade.agents.methods.preset import Preset

PRESETS = (
    Preset(
        "finetune",
        "DQN that forgets the oldest transitions first, and nothing is reset.",
        source="Mnih et al. 2015",
    ),
    Preset(
        "reservoir",
        "Replay is a uniform sample of the whole run.",
        source="Vitter 1985, algorithm R",
        replay="reservoir",
        settings={"learning_rate": 6.83e-4},
    ),
    Preset(
        "mix",
        "Most of replay holds the newest, the rest a uniform sample of all.",
        source="Isele and Cosgun 2018",
        replay="mix:long_term_fraction=0.275",
        settings={"learning_rate": 6.81e-4},
    ),
    Preset(
        "perfect-memory",
        "Nothing is ever forgotten from replay: an upper reference, not a method.",
        source="Wolczyk et al. 2021",
        settings={"learning_rate": 9.12e-4},
        remembers_all=True,
    ),
    Preset(
        "joint",
        "All phases at once, in turns, and nothing is forgotten from replay: what there is to "
        "learn without drift. A reference, not a method.",
        source="multi-task training; Caruana 1997",
        settings={"learning_rate": 9.12e-4},  # that of perfect-memory, whose replay it has
        remembers_all=True,
        interleaved=True,
    ),
)
