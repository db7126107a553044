/** A clock that a test sets, for processes that it starts: libfaketime reads the offset from a file. Timers go on truly. */

import { globSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export class ShiftedClock {
  readonly #file: string;

  constructor(folder: string, name: string) {
    this.#file = join(folder, `${name}.clock`);
    this.set(0);
  }

  /** What a process is started with, to live by this clock; its children do too. */
  get env(): NodeJS.ProcessEnv {
    const [library] = globSync("/usr/lib/*/faketime/libfaketime.so.1");
    if (!library) throw new Error("no libfaketime on this machine: install Debian's libfaketime");
    return {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_CACHE_DURATION: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    };
  }

  /** Jumps to so many hours beside the true time; seen within a second. */
  set(hours: number): void {
    writeFileSync(this.#file, `${hours < 0 ? "" : "+"}${hours}h\n`);
  }
}
