"""The small forms of the terminal. A form stays open until what it asked for is done, and says why it is not."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

DECIMAL: Final = re.compile(r"\d+(\.\d{1,2})?")
Send = Callable[[dict[str, str]], Awaitable[str | None]]  # returns why not


class Form(ModalScreen[None]):
    """fields: name to (label, first value); what is not among `words` or a `symbol` is a decimal.

    words: fields that are one of some words.  may_be_empty: fields that may be left out.
    send: is awaited with the fields that are filled in, also if the form is left meanwhile; then told_late gets what
    it could not show any more.
    """

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "Back")]

    def __init__(
        self,
        title: str,
        note: str,
        fields: Mapping[str, tuple[str, str]],
        send: Send,
        *,
        told_late: Callable[[str], None],
        words: Mapping[str, tuple[str, ...]] | None = None,
        may_be_empty: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self._title, self._note, self._fields, self._send = title, note, fields, send
        self._told_late = told_late
        self._words, self._may_be_empty = words or {}, may_be_empty

    def compose(self) -> ComposeResult:
        with Vertical(id="form"):
            yield Static(self._title, id="form-title", markup=False)
            for name, (label, value) in self._fields.items():
                with Horizontal(classes="field"):
                    yield Label(label)
                    yield Input(value, id=f"field-{name}", compact=True, select_on_focus=True)
            yield Static(self._note, id="form-note", markup=False)
            yield Static("", id="form-error", markup=False)
            with Horizontal(classes="field"):
                yield Button("Send (Enter)", id="send", variant="primary", compact=True)
                yield Button("Back (Esc)", id="leave", compact=True)

    def action_leave(self) -> None:
        self.dismiss()

    async def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "leave":
            self.dismiss()
        else:
            self._submit()

    def on_input_submitted(self) -> None:
        self._submit()

    def _submit(self) -> None:
        if self.query_one("#send", Button).disabled:
            return  # it is being sent
        values = {name: self.query_one(f"#field-{name}", Input).value.strip() for name in self._fields}
        if wrong := self._wrong(values):
            self._say(wrong)
            return
        self.query_one("#send", Button).disabled = True
        self._say("sending ...")
        self.app.run_worker(self._ask({name: value for name, value in values.items() if value}))

    async def _ask(self, values: dict[str, str]) -> None:
        why_not = await self._send(values)
        if not self.is_attached:
            if why_not is not None:
                self._told_late(why_not)
        elif why_not is None:
            self.dismiss()
        else:
            self._say(why_not)
            self.query_one("#send", Button).disabled = False

    def _wrong(self, values: Mapping[str, str]) -> str | None:
        for name, value in values.items():
            label = self._fields[name][0]
            if not value and name not in self._may_be_empty:
                return f"{label}: missing"
            if name in self._words and value not in self._words[name]:
                return f"{label}: one of them"
            if value and name not in self._words and name != "symbol" and not DECIMAL.fullmatch(value):
                return f"{label}: a decimal like 98.75"
        return None

    def _say(self, text: str) -> None:
        self.query_one("#form-error", Static).update(text)


class Note(ModalScreen[None]):
    """A text to read; any key closes it."""

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with Vertical(id="form"):
            yield Static(self._title, id="form-title", markup=False)
            yield Static(self._text, markup=False)

    def on_key(self) -> None:
        self.dismiss()
