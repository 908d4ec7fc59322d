import { describe, expect, onTestFinished, test } from "vitest";
import { vcenterToken } from "../../management/tokens/bearer.ts";
import type { NodeEvent } from "../../observe/events.ts";
import { boxed, cryptoKeyId, machine, StandInVcenter } from "../../testing/vcenter.ts";
import { type Vcenter, VcenterSessions } from "./vcenter-sessions.ts";

/** Where vCenter's proxy is, through which the vSphere Client asks. */
const proxy = "192.0.2.1";
const secret = "b".repeat(40);
const alice = "VSPHERE.LOCAL\\alice";
const uuid = "4210AA00-0000-4000-8000-000000000001";

async function open(more: Partial<Vcenter> = {}) {
  const vcenter = await StandInVcenter.start();
  onTestFinished(() => vcenter[Symbol.asyncDispose]());
  vcenter.sessions.set(secret, alice);
  const events: NodeEvent[] = [];
  const time = { nowMs: 0 };
  const sessions = new VcenterSessions({
    vcenters: [{ ...vcenter.row, ...more }],
    instances: { idOf: (text) => ({ one: "id-1" })[text], labelled: () => [] },
    monotonicMs: () => time.nowMs,
    observe: (event) => events.push(event),
  });
  const token = (guid = vcenter.guid, of = secret) => vcenterToken(guid, of);
  return { vcenter, sessions, events, time, token };
}

const clonings = (asked: readonly string[]) =>
  asked.filter((path) => path.endsWith("clone-ticket")).length;

describe("a session of the vSphere Client", () => {
  test("stands for the user that vCenter names, with the role viewer", async () => {
    const { vcenter, sessions, token } = await open();
    expect(await sessions.verify(token(), proxy)).toEqual({
      id: `${vcenter.guid} ${alice}`,
      name: alice,
      roles: ["viewer"],
      instances: undefined,
      expiresMs: undefined,
    });
    expect(vcenter.asked).toEqual([
      "/api/vcenter/system?action=hello",
      "/sdk/vim25/8.0.2.0/ServiceInstance/ServiceInstance/content",
      "/api/ui/vcenter/session/clone-ticket",
      "/sdk/vim25/8.0.2.0/SessionManager/SessionManager/CloneSession",
    ]);
  });

  test("is cloned at a vCenter that cannot be asked for its release", async () => {
    const { vcenter, sessions, token } = await open();
    vcenter.isOld = true;
    expect(await sessions.verify(token(), proxy)).toMatchObject({ name: alice });
  });

  test("reaches only the instances of its vCenter, and gives no role to a user who is not named", async () => {
    const bound = await open({ instances: ["one", "gone"], viewers: ["vsphere.local\\ALICE"] });
    expect(await bound.sessions.verify(bound.token(), proxy)).toMatchObject({
      roles: ["viewer"],
      instances: ["id-1"],
    });
    const other = await open({ viewers: ["VSPHERE.LOCAL\\bob"] });
    expect(await other.sessions.verify(other.token(), proxy)).toMatchObject({
      name: alice,
      roles: [],
    });
  });

  test("is cloned once for requests that come together, and again after ten minutes", async () => {
    const { vcenter, sessions, time, token } = await open();
    await Promise.all(Array.from({ length: 8 }, () => sessions.verify(token(), proxy)));
    expect(clonings(vcenter.asked)).toBe(1);
    time.nowMs = 599_999;
    await sessions.verify(token(), proxy);
    expect(clonings(vcenter.asked)).toBe(1);
    vcenter.end(secret);
    time.nowMs = 600_000;
    expect(await sessions.verify(token(), proxy)).toBe("noSession");
  });

  test("ends at vCenter when a hundred newer ones are held", async () => {
    const { vcenter, sessions, time, token } = await open();
    for (let at = 0; at <= 100; at++) {
      const own = `${secret}${at}`;
      vcenter.sessions.set(own, `VSPHERE.LOCAL\\user-${at}`);
      time.nowMs += 1000;
      expect(await sessions.verify(token(vcenter.guid, own), proxy)).toMatchObject({ roles: [] });
    }
    await expect.poll(() => vcenter.clones.size).toBe(100);
    expect([...vcenter.clones.values()]).not.toContain("VSPHERE.LOCAL\\user-0");
  });
});

describe("refused is", () => {
  test("a session of a vCenter that is not configured, or without a token, and nobody is asked", async () => {
    const { vcenter, sessions, token } = await open();
    for (const guid of ["00000000-0000-4000-8000-000000000000", "", "localhost"]) {
      expect(await sessions.verify(token(guid), proxy), guid).toBe("noVcenter");
    }
    for (const bad of ["", "with space", "line\r\nfeed: x"]) {
      expect(await sessions.verify(token(vcenter.guid, bad), proxy), bad).toBe("noSession");
    }
    expect(vcenter.asked).toEqual([]);
  });

  test("a token that vCenter does not know", async () => {
    const { sessions, events, token, vcenter } = await open();
    expect(await sessions.verify(token(vcenter.guid, "unknown-token"), proxy)).toBe("noSession");
    expect(events).toEqual([]);
  });

  test("everybody while vCenter fails, with one warning that has no token", async () => {
    const { vcenter, sessions, events, token } = await open();
    vcenter.broken = 503;
    expect(await sessions.verify(token(), proxy)).toBe("vcenterAway");
    await vcenter[Symbol.asyncDispose]();
    expect(await sessions.verify(token(), proxy)).toBe("vcenterAway");
    expect(events).toEqual([
      expect.objectContaining({
        type: "warning",
        message: `admin.console.vcenters: ${vcenter.address}: sessions cannot be checked: ${vcenter.address}/api/vcenter/system?action=hello: answered 503`,
      }),
    ]);
    expect(JSON.stringify(events)).not.toContain(secret);
  });

  test("a server with another certificate, or another vCenter, before it gets the token", async () => {
    const { vcenter } = await open();
    const wrongCa = await open({ address: vcenter.address, guid: vcenter.guid });
    expect(await wrongCa.sessions.verify(wrongCa.token(vcenter.guid), proxy)).toBe("vcenterAway");
    expect(vcenter.asked).toEqual([]);
    const guid = "00000000-0000-4000-8000-000000000001";
    const wrongGuid = await open({ guid });
    expect(await wrongGuid.sessions.verify(wrongGuid.token(guid), proxy)).toBe("vcenterAway");
    expect(wrongGuid.events).toMatchObject([
      { message: expect.stringContaining("is another vCenter") },
    ]);
    expect(clonings(wrongGuid.vcenter.asked)).toBe(0);
  });

  test("an address that opens many sessions: it waits, and all others still get theirs", async () => {
    const { vcenter, sessions, time, token } = await open();
    const guess = (at: number, remote: string) =>
      sessions.verify(token(vcenter.guid, `guess-${at}`), remote).catch(({ problem }) => problem);
    const guesses = Array.from({ length: 300 }, (_, at) => guess(at, "198.51.100.7"));
    const outcomes = await Promise.all(guesses);
    const refused = outcomes.filter((outcome) => typeof outcome !== "string");
    expect(refused).toHaveLength(280);
    expect(refused[0]).toMatchObject({ code: "tooMany", headers: { "retry-after": "1" } });
    expect(clonings(vcenter.asked)).toBeLessThanOrEqual(20);
    expect(await sessions.verify(token(), proxy)).toMatchObject({ name: alice });
    // Once it has waited, vCenter is asked again.
    time.nowMs = 1_000;
    expect(await guess(0, "198.51.100.7")).toBe("noSession");
  });

  test("an address by its network, and what it asks about a key, as well", async () => {
    const { vcenter, sessions, token } = await open();
    for (let at = 0; at < 20; at++) {
      await sessions.verify(token(vcenter.guid, `guess-${at}`), `2001:db8::${at.toString(16)}`);
    }
    const asked = sessions.object(token(), "VirtualMachine", "vm-1", "2001:db8::ffff");
    await expect(asked).rejects.toMatchObject({ problem: { code: "tooMany" } });
  });

  test("many addresses together: vCenter is not kept busy", async () => {
    const { vcenter, sessions, token } = await open();
    for (let at = 0; at < 250; at += 10) {
      const guesses = Array.from({ length: 10 }, (_, nth) =>
        sessions.verify(token(vcenter.guid, `guess-${at + nth}`), `198.51.100.${at + nth}`),
      );
      const outcomes = await Promise.all(guesses);
      if (at >= 200) expect(new Set(outcomes)).toEqual(new Set(["vcenterAway"]));
    }
    expect(clonings(vcenter.asked)).toBeLessThanOrEqual(200);
  });

  test("guesses do not end sessions that are held", async () => {
    const { vcenter, sessions, token } = await open();
    await sessions.verify(token(), proxy);
    await Promise.all(
      Array.from({ length: 120 }, (_, at) =>
        sessions.verify(token(vcenter.guid, `guess-${at}`), `198.51.100.${at}`),
      ),
    );
    const before = clonings(vcenter.asked);
    expect(await sessions.verify(token(), proxy)).toMatchObject({ name: alice });
    expect(clonings(vcenter.asked)).toBe(before);
  });
});

describe("the keys of an object", () => {
  test("of a machine are those of its home and its disks, by the user's own session", async () => {
    const { vcenter, sessions, token } = await open();
    const keys = { home: cryptoKeyId("KEY-1", "hf"), disk: cryptoKeyId("key-2") };
    vcenter.objects.set("vm-42", machine("web <b>", uuid, keys));
    expect(await sessions.object(token(), "VirtualMachine", "vm-42", proxy)).toEqual({
      name: "web <b>",
      identifiers: [uuid.toLowerCase()],
      keys: [
        { key: "key-1", provider: "hf", use: "home", of: "" },
        { key: "key-2", provider: "", use: "disk", of: "Hard disk 1" },
      ],
      unread: [],
    });
  });

  test("of a cluster are those of vSAN and of its hosts, with the names of what the user may not read", async () => {
    const { vcenter, sessions, token } = await open();
    const reference = (value: string) => ({ type: "HostSystem", value });
    vcenter.objects.set("domain-c8", {
      type: "ClusterComputeResource",
      properties: {
        name: boxed("prod"),
        host: {
          _typeName: "ArrayOfManagedObjectReference",
          _value: [reference("host-1"), reference("host-2")],
        },
        configurationEx: {
          _typeName: "ClusterConfigInfoEx",
          vsanConfigInfo: {
            dataEncryptionConfig: {
              encryptionEnabled: true,
              kekId: "kek",
              hostKeyId: "host-key",
              kmsProviderId: { id: "hf" },
            },
          },
        },
      },
    });
    const host = (name: string) => ({
      type: "HostSystem",
      properties: { name: boxed(name), "runtime.cryptoKeyId": cryptoKeyId(`of-${name}`, "hf") },
    });
    vcenter.objects.set("host-1", host("esx1"));
    vcenter.objects.set("host-2", { ...host("esx2"), missing: ["runtime.cryptoKeyId"] });
    expect(await sessions.object(token(), "ClusterComputeResource", "domain-c8", proxy)).toEqual({
      name: "prod",
      identifiers: [],
      keys: [
        { key: "kek", provider: "hf", use: "vsanKek", of: "" },
        { key: "host-key", provider: "hf", use: "vsanHostKey", of: "" },
        { key: "of-esx1", provider: "hf", use: "host", of: "esx1" },
      ],
      unread: ["runtime.cryptoKeyId"],
    });
  });

  test("are not there for an object that vCenter does not show, or after the clone has ended", async () => {
    const { vcenter, sessions, token } = await open();
    const problemOf = (id: string) =>
      sessions.object(token(), "VirtualMachine", id, proxy).then(
        () => "",
        ({ problem }) => problem.code,
      );
    expect(await problemOf("vm-1")).toBe("notFound");
    vcenter.clones.clear();
    expect(await problemOf("vm-1")).toBe("unauthenticated");
    expect(await problemOf("vm-1")).toBe("notFound");
    vcenter.broken = 500;
    expect(await problemOf("vm-1")).toBe("storeUnavailable");
  });
});
