"""`data.filter`: a pandas query that selects rows, and can do nothing else.

A pandas query may call any method and reach any attribute, and a run folder from a stranger carries its filter along;
so names after a dot are limited to what asks about text and numbers.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import UsageError
from medtrain.io.table import RawTable

ASKING = re.compile(
    r"str|contains|startswith|endswith|match|fullmatch|lower|upper|strip|len|isin|between|isna|isnull|notna|notnull"
    r"|abs|dt|year|month|day"
)


QUOTED = re.compile(r"`[^`]*`|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")


def matching(raw: RawTable, query: str) -> NDArray[np.bool_]:
    """Tell which rows the query selects; UsageError, naming data.filter, where it can't be evaluated.

    Words that the query quotes are texts, though they may say elsewhere that nothing is known: "region == 'NA'".
    """
    table = raw.typed_but({quoted[1:-1] for quoted in QUOTED.findall(query) if not quoted.startswith("`")})
    bare = QUOTED.sub(" _ ", query)
    odd = [name for name in re.findall(r"\.\s*([^\W\d]\w*)", bare) if not ASKING.fullmatch(name)]
    if "@" in bare or "__" in bare or ";" in bare or odd:
        what = f"`.{odd[0]}`" if odd else "`@`, `__` and `;`"
        raise UsageError(f"data.filter={query!r}: {what} is not allowed; compare columns, as in \"View == 'PA'\"")
    try:
        keep = table.eval(query, engine="python", local_dict={}, global_dict={})
    except Exception as error:
        columns = ", ".join(map(str, table.columns[:20]))
        raise UsageError(
            f"data.filter={query!r} is not a query of this table: {str(error) or type(error).__name__}\n"
            f"its columns: {columns} (names with spaces in `backticks`, text in quotes)"
        ) from None
    if not isinstance(keep, pd.Series) or keep.dtype != bool:
        raise UsageError(f"data.filter={query!r} does not say yes or no for each row; compare, as in \"View == 'PA'\"")
    return keep.to_numpy(bool)
