import { afterEach, expect, test, vi } from "vitest";
import { showNext } from "./show.ts";

const { isTTY, columns } = process.stdout;

afterEach(() => {
  Object.assign(process.stdout, { isTTY, columns });
  vi.restoreAllMocks();
});

test("the hint for the next page fits a terminal, and has the cursor where everything is shown", () => {
  const written: string[] = [];
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    written.push(String(text));
    return true;
  });
  const cursor = "x".repeat(200);
  Object.assign(process.stdout, { isTTY: true, columns: 60 });
  showNext(cursor, {});
  showNext(cursor, { wide: true });
  Object.assign(process.stdout, { isTTY: false });
  showNext(cursor, {});
  showNext(undefined, {});
  const whole = `holdfast: more with --cursor ${cursor}, or --all\n`;
  expect(written).toEqual(["holdfast: more with --all; --wide shows the cursor\n", whole, whole]);
});
