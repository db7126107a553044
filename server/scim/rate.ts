/** How often a connection may ask. Identity providers back off by Retry-After; Okta understands whole seconds only. */

import rateLimit from "@fastify/rate-limit";
import type { FastifyInstance, FastifyRequest } from "fastify";

/** Bursts are fine, as long as this many seconds together stay within the rate. */
const window = 10;

/** Says how many seconds a caller must wait; undefined if none. */
export type Limit = (request: FastifyRequest) => Promise<number | undefined>;

/** Limits what `keyOf` tells apart to `rate` requests a second; 0 or undefined: to nothing. */
export async function limitRate(
  scope: FastifyInstance,
  rate: number | undefined,
  keyOf: (request: FastifyRequest) => string,
): Promise<Limit> {
  if (rate === undefined || rate === 0) return async () => undefined;
  await scope.register(rateLimit, { global: false });
  const count = scope.createRateLimit({ max: rate * window, timeWindow: window * 1000, keyGenerator: keyOf });
  return async (request) => {
    const seen = await count(request);
    return seen.isAllowed || !seen.isExceeded ? undefined : Math.max(1, seen.ttlInSeconds);
  };
}
