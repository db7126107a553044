import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Tests start our programs a thousand times: what Node compiled for one is kept for the next.
process.env["NODE_COMPILE_CACHE"] ??= fileURLToPath(new URL("node_modules/.cache/compiled", import.meta.url));

// `su` without `-` leaves them out.
process.env["PATH"] += ":/usr/sbin:/sbin";

const long = { testTimeout: 120_000, hookTimeout: 120_000 };

const conformance = ["test/conformance/*.test.ts"];
const postgres = `/tmp/rollcall-postgres-${process.pid}`;

export default defineConfig({
  test: {
    // Tests wait for processes as much as they work: none of the machine's processors is kept for this one.
    maxWorkers: availableParallelism(),
    projects: [
      {
        test: {
          name: "unit",
          // Some make keys or try every byte: seconds, on a machine that does other work.
          testTimeout: 60_000,
          include: [
            "identity/**/*.test.ts",
            "proto/**/*.test.ts",
            "server/**/*.test.ts",
            "agent/**/*.test.ts",
            "cli/**/*.test.ts",
            "test/*.test.ts",
            "test/sim/*.test.ts",
          ],
        },
      },
      // Stories in text files, played by real server and agent processes over loopback.
      { test: { name: "scenario", include: ["test/scenario/*.test.ts"], ...long } },
      // What others must find: SCIM over HTTP, the operator API by buf curl and the CLI, the store's promises.
      { test: { name: "conformance", include: conformance, ...long } },
      // The same promises on PostgreSQL: a real one, started for them.
      {
        test: {
          name: "postgres",
          include: [...conformance, "test/postgres/*.test.ts"],
          // What does not ask the engine anything, and a backup that is put back as a file.
          exclude: ["test/conformance/{cli,operate,restore}.test.ts"],
          globalSetup: "test/processes/postgres-setup.ts",
          env: { ROLLCALL_TEST_POSTGRES: postgres },
          ...long,
        },
      },
      // The real consumers, on test hosts: glibc with libnss-cache, sshd. Needs root.
      { test: { name: "real", include: ["test/real/*.test.ts"], ...long, fileParallelism: false } },
      // Kills at every system call, power cuts. Needs root.
      {
        test: {
          name: "fault",
          include: ["test/fault/*.test.ts"],
          ...long,
          testTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
