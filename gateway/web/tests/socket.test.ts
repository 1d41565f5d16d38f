/** The live connection where the network swallows everything: no close is answered, no connection opens. */
import { beforeEach, expect, it, vi } from "vitest";

class Wire {
  static OPEN = 1;
  static made: Wire[] = [];
  readyState = 0;
  onopen = (): void => {};
  onclose = (): void => {};
  onmessage = (_: { data: string }): void => {};

  constructor() {
    Wire.made.push(this);
  }
  send(): void {}
  close(): void {
    this.readyState = 2; // and stays so: nobody answers
  }
  open(): void {
    this.readyState = 1;
    this.onopen();
    this.onmessage({ data: JSON.stringify({ channel: "status", type: "update", data: [{ system: "online" }] }) });
  }
}

beforeEach(() => {
  Wire.made = [];
  vi.resetModules();
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", Wire);
  vi.stubGlobal("location", { protocol: "http:", host: "x" });
  vi.stubGlobal("addEventListener", () => {});
  vi.stubGlobal("document", { addEventListener: () => {}, hidden: false });
});

it("a connection that is silent for too long is given up and another one made, though its end is not confirmed", async () => {
  const { socket } = await import("../src/lib/socket.svelte");
  socket.start();
  Wire.made[0]?.open();
  expect(socket.state).toBe("online");
  const answer = socket.request("ping", {});
  await vi.advanceTimersByTimeAsync(5_000);
  expect([socket.state, Wire.made.length]).toEqual(["stale", 1]);
  await vi.advanceTimersByTimeAsync(4_000);
  expect(socket.state).toBe("offline");
  expect(await answer).toBeNull();
  expect(Wire.made.length).toBe(2);
  Wire.made[1]?.open();
  expect([socket.state, socket.generation]).toEqual(["online", 2]);
  Wire.made[0]?.onclose(); // the old one's end, told late
  Wire.made[0]?.onmessage({ data: "{}" });
  await vi.advanceTimersByTimeAsync(1_000);
  expect([socket.state, Wire.made.length]).toEqual(["online", 2]);
});

it("a connection that does not open is given up as well", async () => {
  const { socket } = await import("../src/lib/socket.svelte");
  socket.start();
  await vi.advanceTimersByTimeAsync(9_500);
  expect(Wire.made.length).toBe(2);
  Wire.made[1]?.open();
  expect(socket.state).toBe("online");
});
