/**
 * A lab's switch: a namespace that holds a bridge, and a cable to each of the lab's hosts. Nothing is added to the
 * machine's own network, and the addresses of two labs never meet. `ip` comes from the layer.
 */

import { type NamespaceOptions, type Outcome, openNamespace } from "./namespace.ts";

export interface Switch extends AsyncDisposable {
  /** Cables the host with this init to a port, and gives it its address. */
  plug(port: number, pid: number): Promise<void>;
  set(port: number, state: "up" | "down"): Promise<void>;
}

/** The address of the host on a port: 10.77.0.10 and up. */
export function addressOf(port: number): string {
  return `10.77.${(port + 10) >> 8}.${(port + 10) & 255}`;
}

const plugging = `
ip link add "v$1" type veth peer name eth0 netns "$2"
ip link set "v$1" master br0 up
nsenter --target "$2" --net ip -batch - <<END
address add $3/16 dev eth0
link set eth0 up
link set lo up
END`;

export async function openSwitch(lab: string, lower: NamespaceOptions["lower"]): Promise<Switch> {
  const space = await openNamespace(`${lab}-switch`, { lower, pids: "machine" });
  const ip = async (doing: string, ...args: string[]) => succeeded(doing, await space.run("ip", args));
  try {
    await ip("add the bridge", "link", "add", "br0", "up", "type", "bridge");
  } catch (error) {
    await space.off();
    throw error;
  }
  return {
    plug: async (port, pid) => {
      const args = [String(port), String(pid), addressOf(port)];
      succeeded(`plug port ${port}`, await space.run("sh", ["-euc", plugging, "sh", ...args]));
    },
    set: (port, state) => ip(`set port ${port} ${state}`, "link", "set", `v${port}`, state),
    [Symbol.asyncDispose]: () => space.off(),
  };
}

function succeeded(doing: string, { code, stderr }: Outcome): void {
  if (code !== 0) throw new Error(`${doing}: ${stderr.trim()}`);
}
