"""The help lists everything that can be chosen, and says what each of it is."""

import re

from continual_arcade.agents import METHODS
from continual_arcade.agents.methods import PARTS, REPLAYS
from continual_arcade.agents.methods.catalogue import setting_types
from continual_arcade.scripts.catalogue import catalogue


def test_every_choice_is_listed_and_explained() -> None:
    text = catalogue()
    for name in (*METHODS, *REPLAYS, *PARTS):
        assert re.search(rf"^  {name}: \S.{{20}}", text, re.MULTILINE), name
    for name, part in PARTS.items():
        section = re.split(rf"^  {name}: .*\n(?=    )", text, flags=re.MULTILINE)[1]
        for setting in setting_types(part):
            line = re.search(rf"^    {setting}=\S+( \(.*\))?: .{{9}}.*[.]$", section, re.MULTILINE)
            assert line, f"{name}:{setting}"
    assert "fisher=gauss (gauss, policy, sampled, td): " in text
    assert "algorithm=batched (1, 6, 7, batched): " in text
