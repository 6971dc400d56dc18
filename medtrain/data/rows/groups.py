"""`eval.groups`: the columns of the user's table that results are broken down by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from medtrain.core.errors import UsageError
from medtrain.core.words import nearest
from medtrain.data.rows.manifest import Manifest
from medtrain.io.cells import one_spelling
from medtrain.io.table import Listing
from medtrain.target.spelling import refuse_two_ways

MOST = 30  # groups of a column; more are no subgroups but a measurement, or a name
BLANK = "(blank)"


def group_columns(manifest: Manifest, names: Sequence[str], merge_case: bool = False) -> pd.DataFrame:
    """Give one column a name, a row an image, with names (`medtrain.io.cells`) and `BLANK` where nothing is known.

    A name is that of a column, or ``site`` for the one that data.columns.site names.

    Raises:
        UsageError: there is no table, it has no such column, the column has too many values to be groups, or, without
            `merge_case`, values that differ by case or blanks alone.
    """
    columns = () if isinstance(manifest.raw, Listing) else tuple(map(str, manifest.raw.text.columns))
    if not columns and [str(name) for name in names if str(name) != "site" or manifest.site is None]:
        raise UsageError(
            f"eval.groups=[{','.join(map(str, names))}]: these data come without a table, so there are no columns to "
            f"group by{'' if manifest.site is None else ', but site'}"
        )
    chosen, faults = {}, []
    for name in map(str, dict.fromkeys(names)):
        if name in columns:
            cells = manifest.raw.categories(name)
        elif name == "site" and manifest.site is not None:
            cells = manifest.site
        else:
            few = ", ".join(columns[:30])
            faults.append(f"eval.groups: no column {name!r}{nearest(name, columns)} (the columns: {few})")
            continue
        counts = Counter(cells)
        to = one_spelling(counts) if merge_case else {}
        if not merge_case:
            refuse_two_ways(f"eval.groups: the groups in {name!r}", counts)
        chosen[name] = [to.get(cell, cell) or BLANK for cell in cells]
        if (count := len(set(chosen[name]))) > MOST:
            faults.append(
                f"eval.groups: column {name!r} has {count} values, and more than {MOST} are no groups; "
                "add a column of ranges to the table (such as age_group) and name that"
            )
    if faults:
        raise UsageError("\n".join(faults))
    return pd.DataFrame(chosen, index=range(len(manifest)))
