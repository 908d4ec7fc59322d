import type { PlantedFault } from "../fault.ts";

/** Faults in what the management API serves beside its own routes: sign-in at a provider, IBM's routes, backups. */
export const restFaults: readonly PlantedFault[] = [
  {
    name: "anybodys-wrapped-token",
    kind: "access",
    file: "packages/server/src/admin/key-protect-api/iam.ts",
    find: "if (own.length !== given.length || !timingSafeEqual(own, given)) return undefined;",
    replace: "if (own.length !== given.length && !timingSafeEqual(own, own)) return undefined;",
    rule: "a wrapped token with changed claims is refused",
    tests: ["packages/server/src/admin/key-protect-api/iam.test.ts"],
  },
  {
    name: "foreign-key-protect-instance",
    kind: "access",
    file: "packages/server/src/admin/key-protect-api/routes.ts",
    find: "if (!isOurs) throw unauthorized();",
    replace: 'if (!isOurs && named === "") throw unauthorized();',
    rule: "a caller of another Key Protect instance gets no answer",
    tests: ["packages/server/src/admin/key-protect-api/routes.test.ts"],
  },
  {
    name: "anybodys-sign-in",
    kind: "access",
    file: "packages/server/src/admin/console/provider-client.ts",
    find: "if (!timingSafeEqual(digest(flow.state), digest(answer.state))) {",
    replace: 'if (answer.state === "") {',
    rule: "a browser is signed in only by the sign-in that it began",
    tests: ["packages/server/src/admin/console/provider.test.ts"],
  },
  {
    name: "open-redirect",
    kind: "access",
    file: "packages/server/src/admin/console/provider-routes.ts",
    find: 'return typeof given === "string" && placeForm.test(given) ? given : "/";',
    replace: 'return typeof given === "string" ? given : "/";',
    rule: "a sign-in always ends at a page of the console",
    tests: ["packages/server/src/admin/console/provider.test.ts"],
  },
  {
    name: "backup-of-another-folder",
    kind: "access",
    file: "packages/server/src/backup/scheduled/ordered.ts",
    find: "const file = join(directory, basename(order.backup));",
    replace: "const file = join(directory, order.backup);",
    rule: "an order opens no file outside of the folder of backups",
    tests: ["packages/server/src/backup/scheduled/ordered.test.ts"],
  },
];
