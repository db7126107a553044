/** A stream thread's end of the line to the thread that writes: questions with answers, and notes that are sent together. */

import type { MessagePort } from "node:worker_threads";
import { Refusal } from "../../identity/refusal.ts";
import type { FromStreams, Note, Question, Questions, StreamId, ToStreams } from "./control.ts";

/** How often it is said who was heard, in milliseconds. */
const heardEvery = 1000;

/** How long a note may wait for others, in milliseconds. */
const noteEvery = 10;

interface Asked {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Desk implements Disposable {
  readonly #port: MessagePort;
  readonly #asked = new Map<number, Asked>();
  readonly #heard = new Set<StreamId>();
  readonly #telling: NodeJS.Timeout;
  #notes: (readonly [StreamId[], Note])[] = [];
  #lastId = 0;

  constructor(port: MessagePort) {
    this.#port = port;
    this.#telling = setInterval(() => this.#tellHeard(), heardEvery);
  }

  say(message: FromStreams): void {
    this.#port.postMessage(message);
  }

  /** @throws Refusal, as the other thread refuses; Error if it failed there. */
  ask<Q extends Question>(question: Q, ask: Questions[Q]["ask"]): Promise<Questions[Q]["answer"]> {
    const id = ++this.#lastId;
    // What was noted before is known before: a node that refuses and comes back at once is not sent the same again.
    this.#tellNotes();
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve: resolve as Asked["resolve"], reject });
      this.say({ kind: "ask", id, question, ask });
    });
  }

  /** Notes something of a stream. Notes go together: a fleet's acks are many, and alike. */
  note(stream: StreamId, note: Note): void {
    const [streams, last] = this.#notes.at(-1) ?? [];
    if (!streams || !last) setTimeout(() => this.#tellNotes(), noteEvery);
    if (streams && last && isSameAck(last, note)) streams.push(stream);
    else this.#notes.push([[stream], note]);
  }

  heard(stream: StreamId): void {
    this.#heard.add(stream);
  }

  answered(message: ToStreams & { kind: "answer" | "refusal" | "failure" }): void {
    const asked = this.#asked.get(message.id);
    this.#asked.delete(message.id);
    if (message.kind === "answer") asked?.resolve(message.answer);
    else if (message.kind === "refusal") asked?.reject(new Refusal(message.reason, message.message));
    else asked?.reject(new Error("the writing thread failed to answer"));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#telling);
    this.#tellNotes();
  }

  #tellNotes(): void {
    const notes = this.#notes;
    this.#notes = [];
    if (notes.length > 0) this.say({ kind: "notes", notes });
  }

  #tellHeard(): void {
    if (this.#heard.size === 0) return;
    this.say({ kind: "heard", streams: [...this.#heard] });
    this.#heard.clear();
  }
}

/** Of a fleet's acks nearly all are of one position, which is one object here. */
function isSameAck(a: Note, b: Note): boolean {
  return a.kind === "acked" && b.kind === "acked" && a.position === b.position && a.by === b.by;
}
