import { expect, test } from "vitest";
import { Lease, type MachineClock, type Moment, momentOf, since, unknownBoot } from "./lease.ts";

const hour = 3_600_000;

class TestClock implements MachineClock {
  wall = Date.UTC(2026, 10, 1);
  up = 10 * hour;
  boot = "first";

  now(): number {
    return this.wall;
  }

  uptime(): number {
    return this.up;
  }

  pass(ms: number): void {
    this.wall += ms;
    this.up += ms;
  }

  /** The machine is off for a while, and starts. */
  reboot(off: number, boot = "second"): void {
    this.wall += off;
    this.up = 0;
    this.boot = boot;
  }
}

test("A9: the age is the time since the server was heard, whatever is done to the wall clock", () => {
  const clock = new TestClock();
  const lease = new Lease(clock);
  expect(lease.heard).toBeUndefined();
  clock.pass(hour);
  lease.renew();
  expect(lease.heard).toEqual({ boot: "first", uptime: 11 * hour, at: clock.wall });
  for (const jump of [10 * 365 * 24 * hour, -30 * 365 * 24 * hour, -1]) {
    clock.wall += jump;
    expect(lease.silence).toBe(0);
  }
  clock.pass(90_000);
  expect(lease.silence).toBe(90_000);
});

test("a restart of the agent goes on counting, also over jumps of the wall clock", () => {
  const clock = new TestClock();
  const written: Moment = momentOf(clock);
  clock.pass(2 * hour);
  clock.wall -= 40 * hour;
  expect(new Lease(clock, written).silence).toBe(2 * hour);
  expect(new Lease(clock, written).heard).toEqual(written);
  // Nothing was written down: it is not known, and counts from now.
  expect(new Lease(clock).silence).toBe(0);
});

test("over a restart of the machine it is never said to be younger than it is", () => {
  const clock = new TestClock();
  const written = momentOf(clock);
  clock.pass(hour);
  clock.reboot(30 * 24 * hour);
  clock.pass(60_000);
  // The wall clock is right: a month off is a month.
  expect(since(written, clock)).toBe(30 * 24 * hour + hour + 60_000);
  // It stood still, or was set back: at least since the start.
  clock.wall = 0;
  expect(since(written, clock)).toBe(60_000);
  // A container's own uptime, that began anew: the same.
  clock.boot = "first";
  clock.wall = written.at + 3 * hour;
  expect(since(written, clock)).toBe(3 * hour);
  // Who cannot tell goes by the uptime.
  clock.up = written.uptime + 1000;
  expect(since({ ...written, boot: unknownBoot }, clock)).toBe(1000);
});
