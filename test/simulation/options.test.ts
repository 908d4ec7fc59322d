import { expect, test } from "vitest";
import { BadOption, parseOptions } from "./options.ts";

test("without options, 2,000 histories from seed 1 on", () => {
  expect(parseOptions([])).toMatchObject({ seed: 1, histories: 2_000, story: false });
});

test("a story is of one history", () => {
  const options = parseOptions(["--seed", "7", "--story", "--limit", "30", "--html", "page.html"]);
  expect(options).toMatchObject({ seed: 7, histories: 1, limit: 30, html: "page.html" });
});

test.each([
  [["--seed", "x"], '--seed is a whole number from 0 on, not "x"'],
  [["--seed", "-1"], /^Option '--seed' argument is ambiguous/],
  [["--seed", "1.5"], '--seed is a whole number from 0 on, not "1.5"'],
  [["--seed", "99999999999999999"], /--seed is a whole number/],
  [["--histories", "0"], '--histories is a whole number from 1 on, not "0"'],
  [["--limit", "5"], "--limit belongs to --story"],
  [["--story", "--limit", "0"], '--limit is a whole number from 1 to 100000, not "0"'],
  [["--story", "--histories", "3"], /tell of one history/],
  [["--html", "x.html", "--enumerate"], /tell of a history/],
  [["--html="], "--html needs the name of a file"],
  [["--minutes", "0"], '--minutes is a whole number from 1 to 10000, not "0"'],
  [["--minutes", "5", "--story"], /belong to many histories/],
  [["--coverage", "--html", "x.html"], /belong to many histories/],
  [["--states", "5"], "--states belongs to --enumerate"],
  [["--flaw", "none"], /^--flaw "none" is not known; there are: no tag check; /],
  [["--focus", "none"], /^--focus "none" is not known; there are: cut between the regions; /],
  [
    ["--focus", "store lost + x"],
    /^--focus "x" is not known; there are: cut between the regions; /,
  ],
  [["--nothing"], /^Unknown option '--nothing'/],
  [["seven"], /^Unexpected argument 'seven'/],
])("%j is refused in one line", (args, message) => {
  expect(() => parseOptions(args)).toThrow(BadOption);
  expect(() => parseOptions(args)).toThrow(message);
  expect(() => parseOptions(args)).not.toThrow(/\n/);
});
