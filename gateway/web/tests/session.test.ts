/** Who is signed in, when the answer to the first question comes late. */
import { expect, it, vi } from "vitest";

const answer = (status: number, body: object): Response => new Response(JSON.stringify(body), { status });

it("who signs in while the page still asks who is signed in stays signed in", async () => {
  let late: (response: Response) => void = () => {};
  const asked = new Promise<Response>((resolve) => (late = resolve));
  const boss = { login: "boss", account_id: "HOUSE", scopes: ["admin"], csrf: "c" };
  vi.stubGlobal("fetch", (_: string, { method }: RequestInit) => (method === "GET" ? asked : Promise.resolve(answer(200, boss))));
  vi.doMock("../src/lib/socket.svelte", () => ({ socket: { restart: () => {} } }));
  const { session } = await import("../src/lib/session.svelte");
  const finding = session.find();
  await session.signIn("boss", "a password");
  late(answer(401, { code: "auth_required", detail: "sign in" }));
  await finding;
  expect(session.info?.login).toBe("boss");
});
