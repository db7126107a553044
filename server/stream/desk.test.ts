import { MessageChannel } from "node:worker_threads";
import { expect, test } from "vitest";
import type { FromStreams } from "./control.ts";
import { Desk } from "./desk.ts";

test("a question never overtakes a note, however short ago that was made", async () => {
  const { port1, port2 } = new MessageChannel();
  const heard: string[] = [];
  const asked = new Promise<void>((resolve) => {
    port2.on("message", (message: FromStreams) => {
      heard.push(message.kind);
      if (message.kind === "ask") resolve();
    });
  });
  using desk = new Desk(port1);
  desk.note(1, { kind: "closed" });
  const identity = { cluster: "c", role: "login", node: "n", serial: "01", notAfter: 0, authority: "a" } as const;
  void desk.ask("admit", { identity, stream: 2 });
  await asked;
  expect(heard).toEqual(["notes", "ask"]);
  port1.close();
});
