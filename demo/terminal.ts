/** What the reader sees: numbered steps, commands as one would type them, and what came back. */

import type { Started } from "../test/processes/started.ts";
import { expect } from "./expect.ts";
import type { Place } from "./stage.ts";

export interface TypeOptions {
  /** The exit code that it must end with; 0 if not said. */
  readonly code?: number;
  /** What it must print. */
  readonly is?: string;
  /** What is shown of what came back, where that is not all of it. */
  readonly shown?: (output: string) => string;
}

export class Terminal {
  readonly #write: (text: string) => void;
  #steps = 0;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  title(text: string): void {
    this.#write(`${text}\n`);
  }

  step(text: string): void {
    this.#write(`\n${++this.#steps}. ${text}\n`);
  }

  /** A remark, apart from what is above it. */
  say(text: string): void {
    this.#write(`\n${indented(text, "   ")}`);
  }

  show(text: string): void {
    this.#write(indented(text, "     "));
  }

  /** Runs a line of shell where the reader sees it. @throws Unexpected if it ends otherwise than it must. */
  async type(place: Place, line: string, options: TypeOptions = {}): Promise<string> {
    const { code = 0, is, shown = (output: string) => output } = options;
    this.#prompt(place, line);
    const outcome = await place.run(line);
    const output = outcome.stdout + outcome.stderr;
    const ended = outcome.code === code;
    this.show(ended ? shown(output) : output);
    expect(ended, `\`${line}\` on ${place.name} to end with ${code}, not ${outcome.code}`, output);
    expect(is === undefined || outcome.stdout === is, `\`${line}\` on ${place.name} to print ${is}`, output);
    return outcome.stdout;
  }

  /** Starts a line of shell that runs on. */
  start(place: Place, line: string): Started {
    this.#prompt(place, `${line} &`);
    return place.start(line);
  }

  #prompt({ name }: Place, line: string): void {
    this.#write(`   ${name}$ ${line.replaceAll("\n", "\n   ")}\n`);
  }
}

function indented(text: string, margin: string): string {
  return text
    .trimEnd()
    .replace(/^(?=.)/gm, margin)
    .replace(/$/, text.trim() === "" ? "" : "\n");
}
