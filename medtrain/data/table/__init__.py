"""Tables of cases as people have them: columns, labels, splits; every source whose rows have labels reads them so."""
