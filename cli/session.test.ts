import { expect, test } from "vitest";
import { UsageError } from "./exit.ts";
import { serverUrl } from "./session.ts";

test("a server is named by host and port, always over TLS", () => {
  expect(serverUrl({ server: "https://roll.example:8443" })).toBe("https://roll.example:8443");
  expect(serverUrl({ server: "https://[::1]:8443/" })).toBe("https://[::1]:8443");
  expect(serverUrl({ server: "roll.example:8443" })).toBe("https://roll.example:8443");
  for (const server of ["http://roll.example", "https://a/b", "https://u:p@a", "https://a?x", "unix:///x", "a b", ""]) {
    expect(() => serverUrl({ server }), server).toThrow(UsageError);
  }
  expect(() => serverUrl({})).toThrow("ROLLCALL_SERVER");
});
