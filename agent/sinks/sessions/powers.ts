/**
 * What ending sessions needs of root's powers. An agent that is confined more than that ends nothing, and must say so: where it
 * sees no processes, there would seem to be none.
 */

const kill = 1n << 5n; // CAP_KILL

/**
 * Why sessions cannot be ended by this process; undefined if they can.
 * @param status its /proc/self/status.
 * @param seesInit whether /proc shows it the first process, which is another user's: a hidepid mount would not.
 */
export function whyNoSessions(status: string, seesInit: boolean): string | undefined {
  // As a container's own first process it sees the container and no more.
  if (/^Pid:\t1$/m.test(status)) return "the agent does not see the node's processes (hostPID of its pod)";
  const mask = /^CapEff:\t([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  if ((BigInt(`0x${mask}`) & kill) === 0n) return "the agent may not signal other users' processes (CAP_KILL)";
  return seesInit ? undefined : "the agent does not see other users' processes (hidepid, or ProtectProc of its unit)";
}
