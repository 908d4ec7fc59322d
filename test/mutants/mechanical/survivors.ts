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
    line: "if (!looked || refused === undefined) return [];",
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
];
