/** Servicing files as the API takes them: a CSV with a header, or a JSON list. The columns are those of docs/servicing.md. */

export interface Event {
  event_id: string;
  loan_id: string;
  type: string;
  value_date: string;
  [more: string]: unknown;
}

/** Why a file can't be read, by line (the header is line 1). */
export class Unreadable extends Error {
  constructor(
    readonly line: number,
    readonly why: "column" | "lacks" | "json" | "quote" | "empty",
    readonly what: string,
  ) {
    super(`line ${line}: ${why} ${what}`);
  }
}

const REQUIRED = ["event_id", "loan_id", "type", "value_date"];
const KNOWN = new Set([...REQUIRED, "amount", "principal", "interest", "costs", "schedule", "reason"]);

export function eventsOf(text: string): Event[] {
  const clean = text.replace(/^\uFEFF/, "");
  if (/^\s*[[{]/.test(clean)) {
    try {
      const value: unknown = JSON.parse(clean);
      return (Array.isArray(value) ? value : [value]) as Event[];
    } catch (error) {
      throw new Unreadable(1, "json", String(error));
    }
  }
  const [head, ...rows] = csv(clean);
  if (!head || rows.length === 0) throw new Unreadable(1, "empty", "");
  for (const name of head.cells) if (!KNOWN.has(name)) throw new Unreadable(head.line, "column", name);
  for (const name of REQUIRED) if (!head.cells.includes(name)) throw new Unreadable(head.line, "lacks", name);
  return rows.map(({ line, cells }) => {
    const event: Record<string, unknown> = {};
    head.cells.forEach((name, i) => {
      const cell = cells[i]?.trim() ?? "";
      if (cell !== "") event[name] = name === "schedule" ? scheduleOf(cell) : cell;
    });
    for (const name of REQUIRED) if (event[name] === undefined) throw new Unreadable(line, "lacks", name);
    return event as unknown as Event;
  });
}

function scheduleOf(text: string): { due_date: string; interest: string; principal: string }[] {
  return text.split(";").map((row) => {
    const [due_date = "", interest = "", principal = ""] = row.split(":").map((part) => part.trim());
    return { due_date, interest, principal };
  });
}

/** Cells of a CSV (RFC 4180), each row with the line it begins at; empty lines are passed over. */
export function csv(text: string): { line: number; cells: string[] }[] {
  const rows: { line: number; cells: string[] }[] = [];
  let cells: string[] = [];
  let cell = "";
  let line = 1;
  let start = 1;
  let isQuoted = false;
  const end = (): void => {
    cells.push(cell);
    if (cells.length > 1 || cell.trim() !== "") rows.push({ line: start, cells });
    [cells, cell, start] = [[], "", line];
  };
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i];
    if (char === "\n") line += 1;
    if (isQuoted) {
      if (char !== '"') cell += char;
      else if (text[i + 1] === '"') {
        cell += '"';
        i += 1;
      } else isQuoted = false;
    } else if (char === '"' && cell === "") isQuoted = true;
    else if (char === ",") {
      cells.push(cell);
      cell = "";
    } else if (char === "\n") end();
    else if (char !== "\r") cell += char;
  }
  if (isQuoted) throw new Unreadable(start, "quote", "");
  if (cell !== "" || cells.length > 0) end();
  return rows;
}
