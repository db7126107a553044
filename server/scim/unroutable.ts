/**
 * Requests that reach no route of ours, because their path cannot be read or holds too long a name: fastify turns them down
 * before it knows whose they are, so the server as a whole is told to say so in SCIM's words where SCIM is spoken.
 */

import { failure } from "./errors.ts";

/** Options of the fastify server that the plugin is registered in. */
export const routing = {
  frameworkErrors: refuseUnroutable,
  routerOptions: { maxParamLength: 1000 },
};

interface Request {
  readonly raw: { readonly url?: string | undefined };
}

// The bare response: fastify's replies over HTTP/1 and over HTTP/2 have no type in common that can be sent to.
interface Reply {
  readonly raw: {
    writeHead(status: number, headers: Readonly<Record<string, string>>): unknown;
    end(body: string): unknown;
  };
}

function refuseUnroutable(error: { readonly statusCode?: number }, request: Request, reply: Reply): void {
  const status = error.statusCode ?? 500;
  // Not the error's own words: they quote the path.
  const detail = status === 414 ? "a name in the path is too long" : "the path cannot be read";
  const isScim = request.raw.url?.startsWith("/scim/") ?? false;
  const body = isScim ? failure(status, detail).body : { message: detail };
  reply.raw.writeHead(status, { "content-type": isScim ? "application/scim+json" : "application/json" });
  reply.raw.end(JSON.stringify(body));
}
