"""The cheapest pairs of two sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cheapest_pairs(costs: NDArray[np.floating]) -> NDArray[np.int64]:
    """The column of each row, so that the sum of costs is the least (the assignment problem).

    Rows are added one by one along the shortest path of exchanges, with prices of the columns under
    which no exchange gains anything (Kuhn, 1955; Jonker & Volgenant, 1987). It takes R² steps over
    all columns.

    Args:
        costs: Of each row with each column, finite, (R, K).

    Returns:
        (R,); -1 for a row without a column, of which there are as many as rows are more than
        columns.
    """
    rows, columns = costs.shape
    if rows > columns:
        found = np.full(rows, -1, np.int64)
        found[cheapest_pairs(costs.T)] = np.arange(columns)
        return found
    costs = costs.astype(np.float64)
    row_price, price = np.zeros(rows), np.zeros(columns)
    owner = np.full(columns, -1, np.int64)
    for start in range(rows):
        length = np.full(columns, np.inf)
        before = np.full(columns, -1, np.int64)  # the column that an exchange comes from
        open_ = np.ones(columns, bool)
        row, last, least = start, -1, 0.0
        while row >= 0:
            reached = least + costs[row] - row_price[row] - price
            nearer = open_ & (reached < length)
            length[nearer], before[nearer] = reached[nearer], last
            last = int(np.where(open_, length, np.inf).argmin())
            least = length[last]
            open_[last] = False
            row = int(owner[last])
        closed = ~open_
        row_price[start] += least
        moved = closed & (owner >= 0)
        row_price[owner[moved]] += least - length[moved]
        price[closed] -= least - length[closed]
        while last >= 0:
            earlier = int(before[last])
            owner[last] = start if earlier < 0 else owner[earlier]
            last = earlier
    found = np.empty(rows, np.int64)
    taken = np.flatnonzero(owner >= 0)
    found[owner[taken]] = taken
    return found
