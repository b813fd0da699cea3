"""The prompt templates of the settings: read once at start, refused with the key and the reason."""

from pathlib import Path

from kernel.errors import SettingsError
from projections.hindsight.prompt import PromptTemplate

DEFAULT = Path(__file__).parent / "templates" / "prompt.txt"


def prompt_template(path: str, key: str) -> PromptTemplate:
    """The template of a file; the default one for an empty path.

    Parameters
    ----------
    key : of the setting that names the file.

    Raises
    ------
    SettingsError
    """
    file = Path(path) if path else DEFAULT
    try:
        return PromptTemplate(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(key, str(file), f"expected a readable template: {error}") from error
    except Exception as error:  # a template is code: tried once here, whatever it raises
        raise SettingsError(key, str(file), f"expected a template that renders: {error}") from error
