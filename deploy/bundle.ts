/**
 * The agent as one file for plain Node 24, with no node_modules beside it: `npm run bundle`.
 *
 * It is an ES module, since `agent/main.ts` awaits at its top level, and it starts with an interpreter line, so that the file is the
 * program. Names are kept whole and no source map is made: what an error says stays readable, and nothing of the build machine's paths goes in.
 */

import { chmod, mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const repo = fileURLToPath(new URL("..", import.meta.url));

export const bundleFile = fileURLToPath(new URL("../dist/rollcall-agent.mjs", import.meta.url));

// DEP0123: see bin/rollcall-agent. What CommonJS parts require of Node is found by a `require` of the module's own.
const head = `#!/usr/bin/env -S node --expose-gc --disable-warning=DEP0123
import { createRequire as rollcallRequire } from "node:module";
const require = rollcallRequire(import.meta.url);`;

/** Writes the bundle, and gives its size in bytes. @throws Error naming what could not be bundled. */
export async function bundle(outfile = bundleFile): Promise<number> {
  await mkdir(dirname(outfile), { recursive: true });
  await build({
    absWorkingDir: repo,
    entryPoints: ["agent/main.ts"],
    outfile,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    banner: { js: head },
    minifySyntax: true,
    minifyWhitespace: true,
    keepNames: true,
    legalComments: "inline",
    logLevel: "warning",
  });
  await chmod(outfile, 0o755);
  return (await stat(outfile)).size;
}

if (import.meta.main) console.log(`dist/rollcall-agent.mjs: ${Math.ceil((await bundle()) / 1000)} kB`);
