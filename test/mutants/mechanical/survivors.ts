/** Mutants of one line that no test can find, and why. */
export interface Survivor {
  readonly module: string;
  /** The line, without indentation. */
  readonly line: string;
  /** The code before and after, as the run prints it. */
  readonly edits: readonly string[];
  readonly why: string;
}

/** Every mutant that survives; a run reports those that are not in it. */
export const survivors: readonly Survivor[] = [
  {
    module: "lifecycle",
    line: "return date !== undefined && date <= nowSeconds;",
    edits: ["date !== undefined → true"],
    why: "`undefined <= nowSeconds` is false too; only the compiler needs the check",
  },
  {
    module: "join",
    line: 'uniqueIdentifier: "",',
    edits: ['"" → "Stryker was here!"'],
    why: "both objects whose bytes are compared have it, whatever it is",
  },
  {
    module: "join",
    line: 'instance: "",',
    edits: ['"" → "Stryker was here!"'],
    why: "both objects whose bytes are compared have it, whatever it is",
  },
  {
    module: "join",
    line: "return compare(a, b) <= 0 ? a : b;",
    edits: ["compare(a, b) <= 0 → compare(a, b) < 0"],
    why: "facts that compare as equal are equal in every part, so either one will do",
  },
  {
    module: "join",
    line: "if (other === undefined || compareStamps(other, register) < 0) {",
    edits: ["compareStamps(other, register) < 0 → compareStamps(other, register) <= 0"],
    why: "registers of one identity whose stamps and values are equal are the same register",
  },
  {
    module: "merge",
    line: 'if (merged === undefined) throw new Error("a merge lost an object");',
    edits: ["merged === undefined → false", 'throw new Error("a merge lost an object"); → ;'],
    why: "every object is in a batch, and a batch ends with a result for each of its objects; only the compiler needs the check",
  },
  {
    module: "merge",
    line: 'this.#instance = objects[0]?.instance ?? "";',
    edits: ["objects[0]?.instance → objects[0].instance", '"" → "Stryker was here!"'],
    why: "a batch has at least one object; only the compiler needs the default",
  },
  {
    module: "merge",
    line: "const parts = Math.ceil(byId.length / recordsPerCommit);",
    edits: ["byId.length / recordsPerCommit → byId.length * recordsPerCommit"],
    why: "the further batches are empty, and an empty batch does nothing",
  },
  {
    module: "merge",
    line: "if (this.#trusting || refused === undefined) return [];",
    edits: ["refused === undefined → false"],
    why: "a store names one of the records that it was given; only the compiler needs the check",
  },
  {
    module: "merge",
    line: "if (copy === undefined && this.#trusting && looksNew(object)) {",
    edits: ["copy === undefined → true"],
    why: "a record that looks new is not read while that is trusted, so there is no copy of it",
  },
  {
    module: "merge",
    line: 'const own = copy === undefined || copy === "damaged" ? undefined : copy;',
    edits: ["copy === undefined → false"],
    why: "where there is no copy, the copy itself is undefined too",
  },
  {
    module: "agreed",
    line: "const changes = objects.flatMap((stored) => changeTo(stored, copies[at] ?? []));",
    edits: ['[] → ["Stryker was here"]'],
    why: "every site has its copies; only the compiler needs the default",
  },
  {
    module: "agreed",
    line: '#operation = "";',
    edits: ['"" → "Stryker was here!"'],
    why: "each try to reserve replaces it before it is used",
  },
  {
    module: "agreed",
    line: "const outcome = await this.#decide(first, this.#changesAt(copies[0] ?? []));",
    edits: ['[] → ["Stryker was here"]'],
    why: "every site has its copies; only the compiler needs the default",
  },
  {
    module: "agreed",
    line: "const changes = this.#changesAt(copies[at + 1] ?? []);",
    edits: ['[] → ["Stryker was here"]'],
    why: "every site has its copies; only the compiler needs the default",
  },
  {
    module: "agreed",
    line: "(copy.tag !== before.tag &&",
    edits: ["copy.tag !== before.tag → true"],
    why: "a copy with the same tag has the same seals, so its tag is compared once more and is the same; the check saves that work",
  },
  {
    module: "agreed",
    line: "const object = copies[site]?.[at]?.object;",
    edits: ["copies[site]?.[at] → copies[site][at]"],
    why: "every site has its copies; only the compiler needs the check",
  },
  {
    module: "agreed",
    line: "const others = copies.flatMap((found, from) => (from === at ? [] : found));",
    edits: ['[] → ["Stryker was here"]'],
    why: "a text has no object, and the next line leaves out what has none",
  },
  {
    module: "agreed",
    line: "(copy) => copy?.object.uniqueIdentifier === change.after.uniqueIdentifier,",
    edits: ["copy?.object → copy.object"],
    why: "a write comes only after every region had a copy of each record; only the compiler needs the check",
  },
  {
    module: "agreed",
    line: 'if (change.kind === "create" || own === undefined || own.tag === change.before.tag) {',
    edits: [
      'change.kind === "create" || own === undefined → change.kind === "create" && own === undefined',
      'change.kind === "create" → false',
      '"create" → ""',
      "own === undefined → false",
    ],
    why: "only records to update were read, and a write comes only after every region had a copy of each: a change has no own copy exactly if it makes a record",
  },
];
