/**
 * Where the bytes of new versions go: into the buffers of versions that are gone. A file of some megabytes is made anew for every
 * change; memory that the system had to give and clear each time would cost more than the copying.
 */

/** Gives a buffer of just this many bytes, their content being anything. */
export type Allocate = (size: number) => Buffer;

/** A new one each time. */
export const allocateNew: Allocate = (size) => Buffer.allocUnsafe(size);

/** The buffers of one file: of the version that is live, and a spare one in which the next is made. */
export class Buffers {
  #live: Buffer | undefined;
  #spare: Buffer | undefined;

  /** Gives the spare buffer, whatever was made in it before: one version is in the making at a time. */
  readonly allocate: Allocate = (size) => {
    // A little more than is asked for: files grow. Never of Node's shared pool, which is not ours to write again.
    if (!this.#spare || this.#spare.length < size) this.#spare = Buffer.allocUnsafeSlow(size + (size >> 4));
    return this.#spare.subarray(0, size);
  };

  /** These bytes are the live version's now, and nobody looks at those before them any more. */
  use(bytes: Uint8Array): void {
    if (bytes.buffer === this.#spare?.buffer) [this.#live, this.#spare] = [this.#spare, this.#live];
  }
}
