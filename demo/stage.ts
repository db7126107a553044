/**
 * Where the story is played. Best on test hosts: each a node of its own, with its own /etc, glibc and network. Where a
 * machine can have none, by plain processes on its loopback: the same programs, and less to look at.
 */

import { LabUnavailable } from "../test/lab/host.ts";
import type { Outcome } from "../test/lab/namespace.ts";
import type { Started } from "../test/processes/started.ts";
import { openHosts } from "./hosts.ts";
import { openPlain } from "./plain.ts";

export interface Stage extends AsyncDisposable {
  readonly kind: "hosts" | "plain";
  /** What the reader should know of it. */
  readonly words: string;
  place(name: string): Promise<Place>;
}

/** A machine of the story, or a folder that stands for one. */
export interface Place {
  readonly name: string;
  /** What the other places reach it by. */
  readonly address: string;
  /** The words before a command with which a shell on this machine runs it here. */
  readonly entry: readonly string[];
  /** A port to listen on; 0, for any, where the wanted one may be taken. */
  port(wanted: number): number;
  /** What its processes dial to reach an address of another place, over what `cut` cuts. */
  reach(address: string): Promise<string>;
  /** An absolute path of a host, as commands here must write it. */
  path(absolute: string): string;
  /** Sets environment variables of all that is run here from now on. */
  export(variables: Readonly<Record<string, string>>): void;
  /** Runs a line of shell to its end. */
  run(line: string, input?: string): Promise<Outcome>;
  /** Starts a line of shell that runs on; it ends with the stage at the latest. */
  start(line: string): Started;
  /** Writes a file, and its folders. `path` is one that `path()` gave. */
  write(path: string, content: string, mode: number): Promise<void>;
  /** Starts its sshd, where it can have one. */
  openSsh(): Promise<void>;
  /** Nothing reaches it, nothing leaves it, nobody is told. */
  cut(): Promise<void>;
  heal(): Promise<void>;
}

/** @param plain says not even to try for test hosts. */
export async function openStage(plain: boolean): Promise<Stage> {
  if (plain) return openPlain("You asked for no test hosts.");
  try {
    return await openHosts();
  } catch (error) {
    if (!(error instanceof LabUnavailable)) throw error;
    return openPlain(`No test hosts: ${error.message}.`);
  }
}
