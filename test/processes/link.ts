/** A wire between an agent and the server that a test can cut (connections end, none come) or hang (nothing passes, nothing ends). */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class Link implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #target: () => { host: string; port: number };
  #state: "up" | "cut" | "hung" = "up";

  private constructor(target: () => { host: string; port: number }) {
    this.#target = target;
    this.#server = createServer((near) => this.#carry(near));
  }

  static async open(target: () => { host: string; port: number }): Promise<Link> {
    const link = new Link(target);
    link.#server.listen(0, "127.0.0.1");
    await once(link.#server, "listening");
    return link;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  cut(): void {
    this.#state = "cut";
    for (const socket of this.#sockets) socket.destroy();
  }

  hang(): void {
    this.#state = "hung";
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  /** Lets new connections through; what hung is ended, as it would be by the time a real wire is mended. */
  heal(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#state = "up";
  }

  /** Lets new connections through; what hung stays so for ever, as when the other end is gone without a word. */
  revive(): void {
    this.#state = "up";
  }

  #carry(near: Socket): void {
    this.#hold(near);
    if (this.#state === "cut") near.destroy();
    if (this.#state !== "up") return;
    const far = connect(this.#target());
    this.#hold(far);
    near.pipe(far).pipe(near);
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
  }

  #hold(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }
}
