import { describe, expect, test } from "vitest";
import { errorOf, isPassing, readRefusal, type Subject } from "./refusal.ts";

function envelope(reasons?: readonly unknown[]): string {
  const resource = { errorMsg: "Gone: please retry, 503", ...(reasons && { reasons }) };
  return JSON.stringify({ metadata: {}, resources: [resource] });
}

describe("refusals", () => {
  test.each([
    [envelope([{ code: "KEY_DELETED_ERR", status: 410 }]), { code: "KEY_DELETED_ERR" }],
    [envelope(), {}],
    [envelope([]), {}],
    [envelope(["x"]), {}],
    [envelope([{ code: 7 }]), {}],
  ])("the key manager's own error body is recognized: %s", (body, read) => {
    expect(readRefusal(410, body)).toEqual({ status: 410, genuine: true, ...read });
  });

  test.each(["", "<html>", "null", "[]", "{}", '{"resources":{}}', '{"resources":[7]}', '"x"'])(
    "the body of another server is recognized: %j",
    (body) => {
      expect(readRefusal(404, body)).toEqual({ status: 404, genuine: false });
    },
  );

  test("a code is shown to operators, so its length is limited", () => {
    expect(readRefusal(400, envelope([{ code: "X".repeat(1000) }])).code).toHaveLength(80);
  });

  test.each<[number, string | undefined, Subject, string]>([
    [422, "UNPROCESSABLE_CIPHERTEXT_ERR", "ciphertext", "SealBroken"],
    [422, undefined, "ciphertext", "SealBroken"],
    [400, "INVALID_FIELD_ERR", "ciphertext", "SealBroken"],
    [400, "INVALID_FIELD_ERR", "key", "unavailable"],
    [422, "KEY_INVALID_STATE_ERR", "ciphertext", "disabled"],
    [409, "KEY_ACTION_INVALID_STATE_ERR", "key", "disabled"],
    [409, "SOMETHING_NEW_ERR", "key", "disabled"],
    [404, "KEY_NOT_FOUND_ERR", "ciphertext", "gone"],
    [404, "KEY_NOT_FOUND_ERR", "instance", "unavailable"],
    [410, "KEY_DELETED_ERR", "key", "gone"],
    [401, undefined, "instance", "denied"],
    [403, "RESOURCE_OWNER_ERR", "key", "denied"],
    [400, "KEY_ROOT_REQ_ERR", "key", "denied"],
    [400, "BAD_BODY_ERR", "key", "unavailable"],
    [418, undefined, "key", "unavailable"],
    [429, undefined, "key", "unavailable"],
    [503, "KEY_NOT_FOUND_ERR", "key", "unavailable"],
    // A code takes precedence over a status.
    [400, "KEY_DELETED_ERR", "key", "gone"],
  ])("%i %s about a %s means %s", (status, code, subject, meaning) => {
    const refused = { status, genuine: true, ...(code !== undefined && { code }) };
    const error = errorOf(refused, subject, "key-protect unwrap");
    expect("failure" in error ? error.failure : error.name).toBe(meaning);
    expect(error.message).toContain(String(status));
  });

  test("only temporary failures are retried", () => {
    const passing = [429, 500, 502, 503, 504];
    const all = [400, 401, 404, 409, 410, 422, 501, ...passing];
    expect(all.filter((status) => isPassing({ status, genuine: true }))).toEqual(passing);
    const corrupt = { status: 500, code: "INCOMPLETE_METADATA_ERR", genuine: true };
    expect(isPassing(corrupt)).toBe(false);
  });
});
