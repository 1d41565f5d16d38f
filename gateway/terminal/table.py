"""A table that follows changing rows: keeps the cursor on its row, the order by a column, and a filter of words."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text
from textual.coordinate import Coordinate
from textual.widgets import DataTable

NOTHING: Final = float("-inf")


class Cell(Text):
    """A text that knows by what it is ordered: a number, or the text itself."""

    def __init__(self, text: str, value: float | None = None, *, style: str = "", right: bool = True) -> None:
        super().__init__(text, style=style, justify="right" if right else "left", no_wrap=True)
        self.value: float | str = text if not right else NOTHING if value is None else value


Cells = Sequence[Cell]


class LiveTable(DataTable[Cell]):
    """columns: their titles. Rows are told by `show`; what did not change is not drawn again.

    descending: how it is ordered at first.  follows: a cursor on the first row stays there, whatever comes to be first.
    """

    def __init__(self, *titles: str, id: str, descending: bool = False, follows: bool = False) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=1)
        self.titles = titles
        self.sort_by, self.descending, self._follows = 0, descending, follows
        self.words: tuple[str, ...] = ()
        self._shown: dict[str, Cells] = {}
        self._rows: Mapping[str, Cells] = {}  # all there are, filtered or not

    def on_mount(self) -> None:
        for n, title in enumerate(self.titles):
            self.add_column(title, key=str(n))
        self._mark()

    def show(self, rows: Mapping[str, Cells], *, changed: set[str] | None = None) -> None:
        """Show these rows, by key. changed: the keys that may differ from what was shown; None for any of them."""
        self._rows = rows
        wanted = {key: cells for key, cells in rows.items() if self._is_wanted(cells)}
        cursor = None if self._follows and not self.cursor_row else self.row_at_cursor
        for key in [key for key in self._shown if key not in wanted]:
            self.remove_row(key)
            del self._shown[key]
        moved = False
        for key, cells in wanted.items():
            former = self._shown.get(key)
            if former is None:
                self.add_row(*cells, key=key)
                moved = True
            elif changed is None or key in changed:
                moved |= self._update(key, former, cells)
            self._shown[key] = cells
        if moved:
            self._sort()
            self._put_cursor(cursor)

    def filter(self, text: str) -> None:
        """Show only rows that have each of the words somewhere."""
        self.words = tuple(text.lower().split())
        self.show(self._rows, changed=set())

    def sort_on(self, column: int) -> None:
        """Order by a column; by the one that it is ordered by, the other way round."""
        self.descending = not self.descending if column == self.sort_by else False
        self.sort_by = column
        cursor = self.row_at_cursor
        self._mark()
        self._sort()
        self._put_cursor(cursor)

    @property
    def row_at_cursor(self) -> str | None:
        """The key of the row that the cursor is on."""
        if not self.row_count or not self.is_valid_row_index(self.cursor_row):
            return None
        return self.coordinate_to_cell_key(Coordinate(self.cursor_row, 0)).row_key.value

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        self.sort_on(event.column_index)

    def _is_wanted(self, cells: Cells) -> bool:
        if not self.words:
            return True
        text = " ".join(cell.plain.lower() for cell in cells)
        return all(word in text for word in self.words)

    def _update(self, key: str, former: Cells, cells: Cells) -> bool:
        """Draw the cells that differ. True if the row may have to move.

        A column that has become wider stays so: to find out that it could be narrower takes a look at all its cells.
        """
        for n, (before, now) in enumerate(zip(former, cells, strict=True)):
            if before.plain != now.plain or before.style != now.style:
                self.update_cell(key, str(n), now)
                column = self.ordered_columns[n]
                if now.cell_len > column.content_width:
                    column.content_width = now.cell_len
                    self._require_update_dimensions = True
        return former[self.sort_by].value != cells[self.sort_by].value

    def _sort(self) -> None:
        def place(cell: Any) -> tuple[bool, float | str]:
            empty = cell.value == NOTHING  # last in either direction
            return (empty is not self.descending, cell.value)

        self.sort(str(self.sort_by), key=place, reverse=self.descending)

    def _put_cursor(self, key: str | None) -> None:
        if key is not None and key in self._shown:
            self.move_cursor(row=self.get_row_index(key), animate=False)

    def _mark(self) -> None:
        """Show in the titles by what the rows are ordered."""
        arrow = "▼" if self.descending else "▲"
        for n, (title, column) in enumerate(zip(self.titles, self.ordered_columns, strict=True)):
            column.label = Text(f"{title}{arrow}" if n == self.sort_by else title)
        self._require_update_dimensions = True
        self.refresh()
