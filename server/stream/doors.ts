/**
 * Several listening sockets on one port. An event loop accepts one connection of each in a turn (libuv), and while a fleet comes
 * back its turns are long: the kernel's queue of one socket (net.core.somaxconn, 4096 usually) would run over, and whoever finds it full
 * waits for TCP to try again, up to half a minute, or is reset.
 */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, isIP, type Server, type Socket } from "node:net";

interface Address {
  readonly host: string;
  readonly port: number;
}

const backlog = 4096;

/**
 * A free port, if none is given. One that is given is asked, not listened on: a fleet that comes back would be let in there, and reset.
 * @throws Error: somebody answers. Doors share a port, and so would somebody else's, unnoticed.
 */
export async function claim(address: Address): Promise<number> {
  if (address.port !== 0) {
    if (await isAnswered(address)) throw new Error(`EADDRINUSE: somebody listens on ${address.host}:${address.port}`);
    return address.port;
  }
  const server = createServer();
  await listening(server, address);
  const { port } = server.address() as AddressInfo;
  await closed(server);
  return port;
}

/** Whether somebody listens; nobody does on an address that is not of this machine, which is never asked. */
async function isAnswered({ host, port }: Address): Promise<boolean> {
  const socket = connect({ host, port, ...(isIP(host) !== 0 && { localAddress: host }) });
  try {
    await once(socket, "connect");
    // A connection that got just this port for its own end met itself.
    return socket.localPort !== port;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

export interface Doorkeeper {
  /** Is given every connection. */
  taken(socket: Socket): void;
  /** One could not be accepted, maybe for want of memory or descriptors: whoever comes next is. */
  failed(err: Error): void;
}

export class Doors implements AsyncDisposable {
  readonly #servers: readonly Server[];

  private constructor(servers: readonly Server[]) {
    this.#servers = servers;
  }

  /** Opens so many on a port that was claimed. */
  static async open(address: Address, count: number, keeper: Doorkeeper): Promise<Doors> {
    const doors = new Doors(Array.from({ length: count }, () => createServer((socket) => keeper.taken(socket))));
    try {
      for (const server of doors.#servers) {
        await listening(server, { ...address, backlog, reusePort: true });
        server.on("error", (err) => keeper.failed(err));
      }
      return doors;
    } catch (err) {
      await doors[Symbol.asyncDispose]();
      throw err;
    }
  }

  /** Resolves once the connections that came through have ended too. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.filter(({ listening: isOpen }) => isOpen).map(closed));
  }
}

async function listening(server: Server, options: Address & { backlog?: number; reusePort?: boolean }): Promise<void> {
  server.listen(options);
  await once(server, "listening");
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
