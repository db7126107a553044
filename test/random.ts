/** Chance that a seed decides wholly: mulberry32. */

export interface Dice {
  /** A whole number from 0, below `sides`. */
  roll(sides: number): number;
  pick<T>(of: readonly T[]): T;
}

export function dice(seed: number): Dice {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const roll = (sides: number): number => Math.floor(next() * sides);
  return {
    roll,
    pick(of) {
      const picked = of[roll(of.length)];
      if (picked === undefined) throw new Error("nothing to pick from");
      return picked;
    },
  };
}
