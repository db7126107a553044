import { once } from "node:events";
import { MessageChannel } from "node:worker_threads";
import { expect, test } from "vitest";
import { origin } from "../../identity/position.ts";
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

test("only acks of one position that came in one way go together, and order is kept", async () => {
  const { port1, port2 } = new MessageChannel();
  const said = once(port2, "message");
  using desk = new Desk(port1);
  const [first, second] = [
    { ...origin, revision: 1n },
    { ...origin, revision: 2n },
  ];
  for (const stream of [1, 2]) desk.note(stream, { kind: "acked", position: first, by: "delta" });
  desk.note(3, { kind: "acked", position: first, by: "snapshot" });
  for (const stream of [4, 5]) desk.note(stream, { kind: "acked", position: second, by: "snapshot" });
  desk.note(4, { kind: "closed" });
  desk.note(5, { kind: "acked", position: second, by: "snapshot" });
  const [message] = (await said) as [FromStreams];
  expect(message).toEqual({
    kind: "notes",
    notes: [
      [[1, 2], { kind: "acked", position: first, by: "delta" }],
      [[3], { kind: "acked", position: first, by: "snapshot" }],
      [[4, 5], { kind: "acked", position: second, by: "snapshot" }],
      [[4], { kind: "closed" }],
      [[5], { kind: "acked", position: second, by: "snapshot" }],
    ],
  });
  port1.close();
});
