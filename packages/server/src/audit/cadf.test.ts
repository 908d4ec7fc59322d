import { randomUUID } from "node:crypto";
import { type AuditEvent, decodeAudit, encodeAudit, systemInstance } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import { type CadfEvent, type CadfSettings, cadfTime, renderCadf } from "./cadf.ts";
import { managementEvent, managementEvents } from "./management-event.ts";

const settings: CadfSettings = { region: "a", account: "acme", names: "current" };
const place = { storeId: "00112233445566778899aabbccddeeff", partition: 7, number: 42 };
const sha = "0123456789abcdef".repeat(4);
const instance = "11111111-2222-3333-4444-555555555555";
const target = "66666666-7777-8888-9999-aaaaaaaaaaaa";
const requestId = randomUUID();

/** As stored and read again. */
function rendered(
  of: string,
  events: readonly AuditEvent[],
  more: Partial<CadfSettings> = {},
): readonly CadfEvent[] {
  return encodeAudit(of, events).flatMap((entry) =>
    renderCadf(decodeAudit(entry), place, { ...settings, ...more }),
  );
}

const kmip = (action: string, more: Partial<AuditEvent> = {}): AuditEvent => ({
  ...{ time: 1_508_440_070_321, action, outcome: "success", initiator: sha, target, requestId },
  ...more,
});

test("a KMIP event has every field of CADF as IBM's services fill it", () => {
  const [event] = rendered(instance, [kmip("kmip-key.create")]);
  const id = `CertificateID-${sha}`;
  expect(event).toEqual({
    typeURI: "http://schemas.dmtf.org/cloud/audit/1.0/event",
    id: "00112233445566778899aabbccddeeff-7-42-o",
    eventType: "activity",
    eventTime: "2017-10-19T19:07:50.32+0000",
    action: "vmware-solutions.kmip-key.create",
    outcome: "success",
    message: "vmware-solutions: create KMIP key",
    severity: "normal",
    correlationId: requestId,
    dataEvent: true,
    initiator: {
      ...{ id, name: id, authnId: id, authnName: id },
      typeURI: "service/security/client/certificateid",
      credential: { type: "certificate" },
    },
    target: {
      id: `crn:v1:holdfast:local:vmware-solutions:a:a/acme:${instance}:kmip-key:${target}`,
      name: target,
      typeURI: "vmware-solutions/kmip-key",
      resourceGroupId: "",
    },
    observer: { name: "ActivityTracker" },
    reason: { reasonCode: 200, reasonType: "OK" },
    requestData: {},
    responseData: {},
    logSourceCRN: `crn:v1:holdfast:local:vmware-solutions:a:a/acme:${instance}::`,
    saveServiceCopy: true,
    region: "a",
    instance,
    partition: 7,
    sequence: 42,
  });
});

test.each([
  ["kmip-key.create", "kmip-key.create", "kmip-key.create"],
  ["kmip-key.read", "kmip-key.read", "kmip-key.retrieve"],
  ["kmip-key-attributes.retrieve", "kmip-key-attributes.retrieve", "kmip-key-attributes.retrieve"],
  ["kmip-key.activate", "kmip-key.activate", "kmip-key.activate"],
  ["kmip-key.revoke", "kmip-key.revoke", "kmip-key.revoke"],
  ["kmip-key.destroy", "kmip-key.destroy", "kmip-key.destroy"],
  ["instance.create", "service.create", "service.create"],
  ["instance.delete", "service.delete", "service.delete"],
  ["vmware-solutions.management.authorize", "management.authorize", "management.authorize"],
  ["of-a-newer.version", "of-a-newer.version", "of-a-newer.version"],
])("%s has its current name and its name of 2019", (action, current, old) => {
  const name = (names: CadfSettings["names"]) =>
    rendered(instance, [kmip(action)], { names })[0]?.action;
  expect([name("current"), name("2019")]).toEqual(
    [current, old].map((each) => `vmware-solutions.${each}`),
  );
});

test("pending and outcome are two events with one sequence number", () => {
  const events = rendered(instance, [
    kmip("kmip-key.create", { outcome: "pending" }),
    kmip("kmip-key.create", { outcome: "failure", reason: "PermissionDenied" }),
  ]);
  expect(events).toMatchObject([
    { outcome: "pending", reason: { reasonCode: 202 }, severity: "normal", sequence: 42 },
    {
      outcome: "failure",
      reason: {
        reasonCode: 403,
        reasonType: "Forbidden",
        reasonForFailure: "PermissionDenied",
      },
      severity: "critical",
      message: "vmware-solutions: create KMIP key -failure",
      sequence: 42,
    },
  ]);
  expect(new Set(events.map(({ id }) => id)).size).toBe(2);
});

test.each([
  ["InvalidMessage", 400, "warning"],
  ["AuthenticationNotSuccessful", 401, "critical"],
  ["NotAuthorised", 403, "critical"],
  ["ItemNotFound", 404, "normal"],
  ["WrongKeyLifecycleState", 409, "warning"],
  ["GeneralFailure", 500, "warning"],
  ["storeUnavailable", 503, "critical"],
  ["rootKeyMissing", 422, "normal"],
  ["role", 403, "critical"],
  ["__proto__", 400, "warning"],
  ["anything else", 400, "warning"],
])("the reason %s has the code %i and the severity %s", (reason, reasonCode, severity) => {
  const [event] = rendered(instance, [kmip("kmip-key.read", { outcome: "failure", reason })]);
  expect(event).toMatchObject({ reason: { reasonCode, reasonForFailure: reason }, severity });
});

test("an outcome that the store does not know is neither success nor failure", () => {
  const [event] = rendered(instance, [
    kmip("kmip-key.create", { outcome: "unknown", reason: "GeneralFailure" }),
  ]);
  expect(event).toMatchObject({ outcome: "unknown", reason: { reasonCode: 504 } });
});

describe("management", () => {
  const call = {
    principal: { name: "ops", id: "token-1", remote: "10.0.0.9" },
    requestId,
  };

  test("names who acted, from where, with what, and on which instance", () => {
    const events = rendered(
      systemInstance,
      managementEvents(
        call,
        "certificate.create",
        { id: target, name: "vcenter-1", instance },
        { timeMs: 0, detail: { sha256: sha } },
      ),
    );
    expect(events.map(({ outcome }) => outcome)).toEqual(["pending", "success"]);
    expect(events[1]).toMatchObject({
      action: "vmware-solutions.kmip-certificate.create",
      dataEvent: false,
      initiator: {
        ...{ id: "token-1", name: "ops", authnId: "token-1", authnName: "ops" },
        typeURI: "service/security/account/user",
        credential: { type: "token" },
        host: { address: "10.0.0.9", addressType: "IPv4" },
      },
      target: {
        id: `crn:v1:holdfast:local:vmware-solutions:a:a/acme:${instance}:kmip-certificate:${target}`,
        name: "vcenter-1",
        typeURI: "vmware-solutions/kmip-certificate",
      },
      instance,
      requestData: { sha256: sha, instance },
    });
  });

  test.each([sha, "leader", "holdfast"])("shows a caller named %s as a user only", (name) => {
    const principal = { ...call.principal, name };
    const about = { id: target, instance };
    const [event] = rendered(
      systemInstance,
      managementEvents({ ...call, principal }, "certificate.delete", about, { timeMs: 0 }),
    );
    expect(event?.initiator).toMatchObject({
      ...{ id: "token-1", name, authnId: "token-1" },
      typeURI: "service/security/account/user",
      credential: { type: "token" },
    });
  });

  test("shows a refusal with its problem's code", () => {
    const event = managementEvent(
      call,
      "instance.delete",
      "failure",
      { id: instance, instance },
      {
        timeMs: 0,
        reason: "keysRemain",
      },
    );
    expect(rendered(systemInstance, [event])).toMatchObject([
      { reason: { reasonCode: 409, reasonForFailure: "keysRemain" }, severity: "warning" },
    ]);
  });

  test("does not show an initiator inside the system as a user", () => {
    const event = kmip("kmip-key.activate", { initiator: "planned-date" });
    expect(rendered(instance, [event])[0]?.initiator).toMatchObject({
      id: "planned-date",
      typeURI: "service/security/account/serviceid",
    });
  });

  test("keeps a resource name well-formed if the target is unexpected", () => {
    const [event] = rendered(instance, [kmip("kmip-key.read", { target: "a:b/c\n" })]);
    expect(event?.target.id.split(":")).toHaveLength(10);
  });
});

test.each([
  [0, "1970-01-01T00:00:00.00+0000"],
  [1_795_000_000_999, "2026-11-18T09:06:40.99+0000"],
])("%i ms is printed as %s", (timeMs, text) => {
  expect(cadfTime(timeMs)).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\+0000$/);
  if (timeMs === 0) expect(cadfTime(timeMs)).toBe(text);
});
