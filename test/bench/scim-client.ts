/** A SCIM client as identity providers are: connections kept alive, some requests in flight at a time. */

import { Agent as PlainAgent, request as plainRequest } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";

export const inFlight = 16;

export interface ScimClient extends Disposable {
  /** The answer's body. @throws Error for any status that is not a success. */
  send(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>;
}

export function scimClient(base: string, token: string, ca?: Buffer): ScimClient {
  const isTls = base.startsWith("https:");
  const agent = isTls
    ? new TlsAgent({ keepAlive: true, maxSockets: inFlight, ca })
    : new PlainAgent({ keepAlive: true, maxSockets: inFlight });
  const request = isTls ? tlsRequest : plainRequest;
  return {
    send(method, path, body) {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers = {
        authorization: `Bearer ${token}`,
        ...(text !== undefined && {
          "content-type": "application/scim+json",
          "content-length": String(Buffer.byteLength(text)),
        }),
      };
      return new Promise((resolve, reject) => {
        const call = request(`${base}${path}`, { method, agent, headers }, (response) => {
          const parts: Buffer[] = [];
          response.on("data", (part: Buffer) => parts.push(part));
          response.on("error", reject);
          response.on("end", () => {
            const said = Buffer.concat(parts).toString();
            const status = response.statusCode ?? 0;
            if (status >= 300) reject(new Error(`${method} ${path.slice(0, 80)}: ${status} ${said.slice(0, 200)}`));
            else resolve(said === "" ? {} : (JSON.parse(said) as Record<string, unknown>));
          });
        });
        call.on("error", reject);
        call.end(text);
      });
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** Acts per second, {@link inFlight} at a time. */
export async function perSecond(count: number, act: (index: number) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (next < count) await act(next++);
    }),
  );
  return (count * 1000) / (performance.now() - start);
}

/** Milliseconds of each of many acts, one after the other, in rising order; the first ones are for warming up. */
export async function times(count: number, act: (index: number) => Promise<unknown>): Promise<number[]> {
  const taken: number[] = [];
  for (let index = -3; index < count; index++) {
    const start = performance.now();
    await act(Math.max(index, 0));
    if (index >= 0) taken.push(performance.now() - start);
  }
  return taken.sort((a, b) => a - b);
}

/** The value that a share of sorted figures does not exceed. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
