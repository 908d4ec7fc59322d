import { AdminProblem, AdminUnreachable, type ProblemCode, problems } from "@holdfast/admin";
import { ConnectionError, KmipClientError } from "@holdfast/client";
import { enumerations } from "@holdfast/kmip";
import { CommanderError } from "commander";
import { describe, expect, test } from "vitest";
import { exitCodeOf, problemExits, reasonExits, statusExits } from "./exit-codes.ts";
import { exitCodes } from "./exits.ts";
import { Failure } from "./failure.ts";

const problem = (code: string, status: number) => new AdminProblem(status, { code }, undefined);
const kmip = (reason: string | undefined, message?: string) =>
  new KmipClientError({ operation: "Get", status: "OperationFailed", reason, message });

/** The codes whose exit code differs from that of their HTTP status. */
const exceptions: Readonly<Partial<Record<ProblemCode, number>>> = { confirmationNeeded: 2 };

describe("the exit code of a refusal of the management API", () => {
  test.each(Object.entries(problems) as [ProblemCode, { readonly status: number }][])(
    "%s follows from its HTTP status",
    (code, { status }) => {
      const byStatus = exitCodeOf(problem("of a newer service", status));
      expect(exitCodeOf(problem(code, status))).toBe(exceptions[code] ?? byStatus);
      expect(exitCodeOf(problem(code, status))).toBe(exitCodes[problemExits[code]].code);
    },
  );

  test.each([
    [400, 2],
    [401, 4],
    [403, 4],
    [404, 5],
    [405, 2],
    [409, 6],
    [412, 6],
    [413, 2],
    [415, 2],
    [422, 2],
    [428, 2],
    [429, 3],
    [500, 1],
    [503, 3],
  ])("for status %i is %i", (status, code) => {
    expect(exitCodeOf(problem("of a newer service", status))).toBe(code);
  });

  test("has a row for every status of the contract except 500", () => {
    const statuses = new Set(Object.values(problems).map(({ status }) => String(status)));
    statuses.delete("500");
    expect([...statuses].toSorted()).toEqual(Object.keys(statusExits).toSorted());
  });
});

describe("the exit code of a KMIP refusal", () => {
  const expected: Readonly<Record<number, readonly string[]>> = {
    1: ["CryptographicFailure", "InternalServerError", "OperationCanceledByRequester"],
    3: [
      ...["GeneralFailure", "ServerLimitExceeded", "ProtectionStorageUnavailable"],
      ...["PrivateProtectionStorageUnavailable", "PublicProtectionStorageUnavailable"],
    ],
    4: ["AuthenticationNotSuccessful", "BadPassword", "NotAuthorised", "PermissionDenied"],
    5: [
      ...["ItemNotFound", "ObjectNotFound", "AttributeNotFound", "AttributeInstanceNotFound"],
      ...["WrappingObjectNotFound", "UnknownObjectGroup"],
    ],
    6: [
      ...["WrongKeyLifecycleState", "ObjectArchived", "ObjectDestroyed", "ObjectAlreadyExists"],
      ...["WrappingObjectArchived", "WrappingObjectDestroyed", "NonUniqueNameAttribute"],
      ...["UsageLimitExceeded", "Sensitive", "NotExtractable", "KeyValueNotPresent"],
      "DuplicateProcessRequest",
    ],
  };
  const rows = Object.entries(expected).flatMap(([code, reasons]) =>
    reasons.map((reason) => [reason, Number(code)] as const),
  );

  test.each(rows)("%s is %i", (reason, code) => {
    expect(exitCodeOf(kmip(reason))).toBe(code);
  });

  test("has a test for every row, and is that of a wrong request for all other reasons", () => {
    expect(Object.keys(reasonExits).toSorted()).toEqual(rows.map(([reason]) => reason).toSorted());
    const others = Object.keys(enumerations.ResultReason).filter((one) => !(one in reasonExits));
    for (const reason of others) expect([reason, exitCodeOf(kmip(reason))]).toEqual([reason, 2]);
  });

  test.each([
    ["refused: this needs the agreement of every region; try again", 3],
    ["internal error", 1],
  ])("General Failure with %j is %i", (message, code) => {
    expect(exitCodeOf(kmip("GeneralFailure", message))).toBe(code);
  });

  test("without a reason is that of a failure", () => {
    expect(exitCodeOf(kmip(undefined))).toBe(1);
  });
});

describe("the exit code of any other error", () => {
  test.each<[string, Error, number]>([
    ["help", new CommanderError(0, "commander.help", ""), 0],
    ["a wrong option", new CommanderError(1, "commander.unknownOption", ""), 2],
    ["a file that is missing", new Failure("--file: no such file"), 2],
    ["no answer of the management API", new AdminUnreachable("no node"), 3],
    ["no answer of a KMIP server", new ConnectionError("unreachable", "refused"), 3],
    ["a client certificate that is not known", new ConnectionError("lost", "", undefined, true), 4],
    ["a fault of this program", new TypeError("x"), 1],
  ])("is right for %s", (_what, error, code) => {
    expect(exitCodeOf(error)).toBe(code);
  });
});
