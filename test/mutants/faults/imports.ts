import type { PlantedFault } from "../fault.ts";

const server = "packages/server/src/management/keys/import.ts";
const engine = "packages/engine/src/material/imported-object.ts";
const serverTests = ["packages/server/src/management/keys/import.test.ts"];
const engineTests = ["packages/engine/src/material/imported-object.test.ts"];
const promises = ["A key that is imported"];

/** Faults in what takes over keys of another key manager. */
export const importFaults: readonly PlantedFault[] = [
  {
    name: "import-without-agreement",
    kind: "access",
    file: server,
    find: "changes, audit, { agreed: true });",
    replace: "changes, audit, { agreed: false });",
    rule: "both regions agree to an imported key",
    promises,
    tests: serverTests,
  },
  {
    name: "import-there-in-one-region",
    kind: "access",
    file: server,
    find: 'return { pending, change, outcome: "AlreadyThere" };',
    replace: 'if (change.kind === "update") this.#end(key, "AlreadyThere");',
    rule: "a key is called imported only when both regions have it",
    promises,
    tests: serverTests,
  },
  {
    name: "import-of-a-destroyed-key",
    kind: "access",
    file: server,
    find: 'this.#end(key, "Refused", destroyedHere);',
    replace: 'this.#end(key, "AlreadyThere", destroyedHere);',
    rule: "the identifier of a destroyed key is not used again",
    promises,
    tests: serverTests,
  },
  {
    name: "import-takes-a-name",
    kind: "access",
    file: server,
    find: "if (objects.length > 0) return true;",
    replace: "if (objects.length > 1) return true;",
    rule: "an import does not take a Name that another object has, whichever region decides",
    tests: serverTests,
  },
  {
    name: "import-hides-other-material",
    kind: "engine",
    file: engine,
    find: "return timingSafeEqual(contentHash(own), contentHash(material));",
    replace:
      "return timingSafeEqual(contentHash(own), contentHash(material)) || own.tag === material.tag;",
    rule: "a key with other material is not called the same",
    promises,
    tests: engineTests,
  },
  {
    name: "import-of-a-wrapped-key",
    kind: "engine",
    file: engine,
    find: "if (block.keyWrappingData !== undefined) {",
    replace: "if (block.keyCompressionType !== undefined) {",
    rule: "a key that only another server can unwrap is not imported",
    tests: engineTests,
  },
  {
    name: "import-forgets-a-compromise",
    kind: "engine",
    file: engine,
    find: '...(state === "Compromised" && {',
    replace: '...(state === "PreActive" && {',
    rule: "an imported key has the State that it had",
    tests: engineTests,
  },
];
