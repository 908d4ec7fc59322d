import { describe, expect, test } from "vitest";
import { countFault, type LocateCall, readIdentifiers } from "./inventory.ts";

const numbered = (count: number) => Array.from({ length: count }, (_, at) => `id-${at}`);

/** A server with a list that may change after each of its answers. */
class Lists {
  readonly asked: (number | undefined)[] = [];
  readonly #lists: readonly (readonly string[])[];
  readonly #most: number;
  readonly #counted: number | undefined;

  constructor(lists: readonly (readonly string[])[], most = 1_000, counted?: number) {
    this.#lists = lists;
    this.#most = most;
    this.#counted = counted;
  }

  readonly locate: LocateCall = async (page) => {
    const list = this.#lists[Math.min(this.asked.length, this.#lists.length - 1)] ?? [];
    this.asked.push(page?.offset);
    const from = page?.offset ?? 0;
    const room = Math.min(page?.maximum ?? list.length, this.#most);
    const ids = list.slice(from, from + room);
    return this.#counted === undefined ? { ids } : { ids, counted: this.#counted };
  };
}

describe("the identifiers of a server", () => {
  test.each([0, 1, 2, 3, 4, 7])("are complete with %i objects in pages of 3", async (count) => {
    const lists = new Lists([numbered(count)]);
    const { ids, repeated } = await readIdentifiers(lists.locate, 3);
    expect(ids).toEqual(numbered(count));
    expect(repeated).toBe(0);
  });

  test("are complete if a page has fewer than were asked for", async () => {
    const { ids } = await readIdentifiers(new Lists([numbered(25)], 4).locate, 10);
    expect(ids).toEqual(numbered(25));
  });

  test("are read at once if the server knows no pages", async () => {
    const lists = new Lists([numbered(25)]);
    expect((await readIdentifiers(lists.locate, undefined)).ids).toEqual(numbered(25));
    expect(lists.asked).toEqual([undefined, undefined]);
  });

  test("have each object once if new ones move others to the next page", async () => {
    const later = ["new-1", "new-2", ...numbered(6)];
    const { ids, repeated } = await readIdentifiers(new Lists([numbered(6), later]).locate, 3);
    expect(ids.toSorted()).toEqual([...numbered(6), "new-1", "new-2"].toSorted());
    expect(repeated).toBe(2);
  });

  test("have those that move to an earlier page when others go", async () => {
    const fewer = numbered(9).slice(2);
    const { ids } = await readIdentifiers(new Lists([numbered(9), fewer]).locate, 3);
    expect(ids.toSorted()).toEqual(numbered(9));
  });

  test("are complete if the server ignores the offset", async () => {
    const locate: LocateCall = async (page) => ({ ids: numbered(10).slice(0, page?.maximum) });
    expect((await readIdentifiers(locate, 4)).ids).toEqual(numbered(10));
  });

  test("are refused if the list never stops to grow", async () => {
    let count = 0;
    const locate: LocateCall = async () => {
      count += 1;
      return { ids: numbered(count) };
    };
    await expect(readIdentifiers(locate, undefined)).rejects.toThrow("something new in each of 6");
  });

  test("are refused if the pages never end", async () => {
    let made = 0;
    const locate: LocateCall = async (page) => {
      made += page?.maximum ?? 0;
      return { ids: numbered(page?.maximum ?? 0).map((id) => `${made}-${id}`) };
    };
    await expect(readIdentifiers(locate, 100, 1_000)).rejects.toThrow("more than 1000");
  });
});

describe("the server's own count", () => {
  test.each([
    ["is not there", undefined, undefined],
    ["is right", 3, undefined],
    ["is that of a page", 2, undefined],
    ["is too high", 5, "the source says that it has 5 objects, but lists 3"],
  ])("if it %s", (_, counted, fault) => {
    const said = countFault({ ids: numbered(3), counted, repeated: 0 }, "the source");
    if (fault === undefined) expect(said).toBeUndefined();
    else expect(said).toContain(fault);
  });

  test("comes from the list", async () => {
    const { counted } = await readIdentifiers(new Lists([numbered(3)], 2, 8).locate, 2);
    expect(counted).toBe(8);
  });
});
