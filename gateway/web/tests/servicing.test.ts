import { describe, expect, it } from "vitest";
import { csv, eventsOf, Unreadable } from "../src/lib/servicing";

const HEAD = "event_id,loan_id,type,value_date,amount,schedule,reason";

describe("a servicing file", () => {
  it("is read with its quotes, empty cells left out", () => {
    const text = `\uFEFF${HEAD}\r\ne1,L1,payment,2024-02-15,888.49,,"late, but ""paid"""\r\n\r\ne2,L1,missed,2024-03-15,,,\r\n`;
    expect(eventsOf(text)).toEqual([
      { event_id: "e1", loan_id: "L1", type: "payment", value_date: "2024-02-15", amount: "888.49", reason: 'late, but "paid"' },
      { event_id: "e2", loan_id: "L1", type: "missed", value_date: "2024-03-15" },
    ]);
  });

  it("has a schedule in one cell", () => {
    const [event] = eventsOf(`${HEAD}\ne,L1,reschedule,2024-02-15,,2024-05-15:10.00:500.00;2024-06-15:5.00:500.00,`);
    expect(event?.schedule).toEqual([
      { due_date: "2024-05-15", interest: "10.00", principal: "500.00" },
      { due_date: "2024-06-15", interest: "5.00", principal: "500.00" },
    ]);
  });

  it("may be JSON, one event or a list", () => {
    expect(eventsOf('{"event_id": "e"}')).toHaveLength(1);
    expect(eventsOf(' [{"event_id": "e"}, {"event_id": "f"}]')).toHaveLength(2);
  });

  it.each([
    ["", "empty", 1],
    [`${HEAD}\n`, "empty", 1],
    ["event_id,loan,type,value_date\na,b,c,d", "column", 1],
    ["event_id,type,value_date\na,b,c", "lacks", 1],
    [`${HEAD}\ne1,L1,payment,2024-02-15,1,,\ne2,,payment,2024-02-15,1,,`, "lacks", 3],
    [`${HEAD}\n"e1,L1`, "quote", 2],
    ["[{]", "json", 1],
  ])("%j is refused: %s at line %d", (text, why, line) => {
    let found: unknown;
    try {
      eventsOf(text);
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(Unreadable);
    expect(found).toMatchObject({ why, line });
  });

  it("counts lines within quotes", () => {
    expect(csv('a,b\n"x\ny",1\nz,2').map(({ line }) => line)).toEqual([1, 2, 4]);
  });
});
