"""The field types that payloads are declared with: one name per kind of value, its bounds in the type."""

from typing import Annotated

from msgspec import Meta

from kernel.fixed import Amount

__all__ = ["Amount", "Count", "Id", "Number", "Positive", "Quantity", "Text", "Unit"]

_LIMIT = 1e12

#: An identifier or a channel: 1 to 256 characters.
Id = Annotated[str, Meta(min_length=1, max_length=256)]
#: Free text.
Text = str
#: Any number of magnitude up to 10¹².
Number = Annotated[float, Meta(ge=-_LIMIT, le=_LIMIT)]
#: A number of hours, minutes, seconds …: 0 to 10¹².
Quantity = Annotated[float, Meta(ge=0, le=_LIMIT)]
#: A share or a grade: 0 to 1.
Unit = Annotated[float, Meta(ge=0, le=1)]
#: A whole number from 0.
Count = Annotated[int, Meta(ge=0, le=10**12)]
#: A whole number from 1.
Positive = Annotated[int, Meta(ge=1, le=10**12)]
