"""Where ``leadwheel`` begins: before anything else is imported, what is imported must be ours.

A linter that many have installed brings a package of the name ``bandit``, too. Whichever of the two is found first
hides the other, and what would follow is an error about some name that is not there.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

_USAGE = 2
_OURS = Path(__file__).parents[1] / "bandit"


def foreign_bandit() -> str | None:
    """Where another package ``bandit`` was found instead of ours; None when ours is."""
    spec = find_spec("bandit")
    places = [] if spec is None else [Path(each).resolve() for each in spec.submodule_search_locations or ()]
    is_ours = _OURS.resolve() in places[:1] and (_OURS / "policy_entity.py").is_file()
    return None if is_ours else str(places[0]) if places else "nowhere"


def main() -> None:
    """Entry point of the installed command."""
    foreign = foreign_bandit()
    if foreign is not None:
        sys.stderr.write(
            f"leadwheel: the package bandit was found in {foreign}, expected in {_OURS}. The linter of that name is "
            "installed in this environment, or stands before it on the path: uninstall it there (pip uninstall bandit), "
            "and install leadwheel again.\n"
        )
        sys.exit(_USAGE)
    from gateway.cli import main as command_line

    command_line()
