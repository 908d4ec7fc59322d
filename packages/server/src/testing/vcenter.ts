import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { createAuthority } from "@holdfast/testing/pki";

/** An object of the stand-in: its type, and its properties by path, boxed as VI JSON has them. */
export interface StandInObject {
  readonly type: string;
  readonly properties: Readonly<Record<string, unknown>>;
  /** Paths that no user may read. */
  readonly missing?: readonly string[];
}

/** A reply: a status, and a body if any. */
interface Reply {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

const header = "vmware-api-session-id";
const release = "8.0.2.0";
const base = `/sdk/vim25/${release}`;

/**
 * The part of a vCenter that hands sessions over, over real TLS: `clone-ticket` of the vSphere Client and VI JSON, by
 * their documents. No real vCenter was compared with it.
 */
export class StandInVcenter implements AsyncDisposable {
  readonly guid: string;
  readonly ca: string;
  readonly address: string;
  /** Users by the tokens of their browsers' sessions. */
  readonly sessions = new Map<string, string>();
  /** Objects by their identifiers, such as `vm-42`. */
  readonly objects = new Map<string, StandInObject>();
  /** Users by the tokens of cloned sessions. */
  readonly clones = new Map<string, string>();
  /** The paths of the requests received. */
  readonly asked: string[] = [];
  /** Answers every request with this status. */
  broken: number | undefined;
  /** 8.0 U1 cannot be asked for its release. */
  isOld = false;
  readonly #server: Server;
  readonly #tickets = new Map<string, string>();
  readonly #others: (request: IncomingMessage, response: ServerResponse) => void;

  private constructor(
    guid: string,
    server: Server,
    ca: string,
    others: (request: IncomingMessage, response: ServerResponse) => void,
  ) {
    this.guid = guid;
    this.#server = server;
    this.#others = others;
    this.ca = ca;
    this.address = `https://localhost:${(server.address() as AddressInfo).port}`;
    server.on("request", (request, response) => void this.#serve(request, response));
  }

  /** `others` answers what is not part of the hand-over, such as pages. */
  static async start(
    others: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => {
      response.writeHead(404).end();
    },
  ): Promise<StandInVcenter> {
    const since = { notBeforeMs: Date.now() - 1000, days: 1 };
    const authority = await createAuthority({ commonName: "vCenter CA", ...since });
    const { certificate, key } = await authority.issue({
      commonName: "vcenter",
      hosts: ["localhost"],
      ...since,
    });
    const server = createServer({ cert: certificate, key });
    await once(server.listen(0, "127.0.0.1"), "listening");
    return new StandInVcenter(randomUUID(), server, authority.certificate, others);
  }

  /** The row of `admin.console.vcenters` for it; `ca` as PEM. */
  get row() {
    const { guid, address, ca } = this;
    return { guid, address, ca, viewers: ["VSPHERE.LOCAL\\alice"], instances: [] };
  }

  /** Ends a browser's session, and what was cloned of it. */
  end(token: string): void {
    const user = this.sessions.get(token);
    this.sessions.delete(token);
    for (const [clone, of] of this.clones) if (of === user) this.clones.delete(clone);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url = "" } = request;
    const isOwn = /^\/(sdk|api\/vcenter|api\/ui\/vcenter)\//.test(url);
    if (!isOwn) {
      this.#others(request, response);
      return;
    }
    this.asked.push(url);
    const { status, body, headers = {} } = this.#answer(request, url, await text(request));
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  }

  #answer({ headers }: IncomingMessage, url: string, sent: string): Reply {
    if (this.broken !== undefined) return { status: this.broken };
    const body = sent === "" ? {} : (JSON.parse(sent) as Record<string, unknown>);
    const token = String(headers[header] ?? "");
    switch (url) {
      case "/api/vcenter/system?action=hello":
        return this.isOld ? { status: 404 } : { status: 200, body: { api_release: release } };
      case "/api/ui/vcenter/session/clone-ticket":
        return this.#ticket(token, body["vc_guid"]);
      case `${this.#base}/ServiceInstance/ServiceInstance/content`:
        return { status: 200, body: this.#content() };
      case `${this.#base}/SessionManager/SessionManager/CloneSession`:
        return this.#clone(String(body["cloneTicket"]));
      case `${this.#base}/SessionManager/SessionManager/Logout`:
        return this.clones.delete(token) ? { status: 204 } : fault("NotAuthenticated");
      case `${this.#base}/PropertyCollector/propertyCollector/RetrievePropertiesEx`:
        return this.clones.has(token) ? this.#retrieve(body) : fault("NotAuthenticated");
      default:
        return { status: 404 };
    }
  }

  get #base(): string {
    return this.isOld ? "/sdk/vim25/8.0.1.0" : base;
  }

  #content(): unknown {
    const reference = (type: string, value: string) => ({
      _typeName: "ManagedObjectReference",
      type,
      value,
    });
    return {
      _typeName: "ServiceContent",
      about: { _typeName: "AboutInfo", instanceUuid: this.guid, version: "8.0.2" },
      sessionManager: reference("SessionManager", "SessionManager"),
      propertyCollector: reference("PropertyCollector", "propertyCollector"),
    };
  }

  #ticket(token: string, guid: unknown): Reply {
    const user = this.sessions.get(token);
    if (user === undefined) return { status: 401, body: { error_type: "UNAUTHENTICATED" } };
    if (guid !== this.guid) return { status: 400, body: { error_type: "INVALID_ARGUMENT" } };
    const ticket = `ticket-${randomUUID()}`;
    this.#tickets.set(ticket, user);
    return { status: 200, body: { session_clone_ticket: ticket } };
  }

  /** A ticket counts once. */
  #clone(ticket: string): Reply {
    const userName = this.#tickets.get(ticket);
    if (userName === undefined) return fault("InvalidLogin");
    this.#tickets.delete(ticket);
    const token = `clone-${randomUUID()}`;
    this.clones.set(token, userName);
    const body = { _typeName: "UserSession", key: randomUUID(), userName, fullName: userName };
    return { status: 200, body, headers: { [header]: token } };
  }

  #retrieve(body: unknown): Reply {
    const { specSet } = body as {
      readonly specSet: readonly [
        {
          readonly objectSet: readonly { readonly obj: { readonly value: string } }[];
          readonly propSet: readonly [
            { readonly type: string; readonly pathSet: readonly string[] },
          ];
        },
      ];
    };
    const [{ objectSet, propSet }] = specSet;
    const [{ type, pathSet }] = propSet;
    const found = objectSet.map(({ obj }) => ({ obj, own: this.objects.get(obj.value) }));
    if (found.some(({ own }) => own?.type !== type)) return fault("ManagedObjectNotFound");
    const objects = found.map(({ obj, own }) => ({
      _typeName: "ObjectContent",
      obj,
      propSet: pathSet.flatMap((name) => {
        const val = own?.missing?.includes(name) ? undefined : own?.properties[name];
        return val === undefined ? [] : [{ _typeName: "DynamicProperty", name, val }];
      }),
      missingSet: (own?.missing ?? []).map((path) => ({
        _typeName: "MissingProperty",
        path,
        fault: { _typeName: "LocalizedMethodFault", fault: { _typeName: "NoPermission" } },
      })),
    }));
    return { status: 200, body: { _typeName: "RetrieveResult", objects } };
  }
}

function fault(_typeName: string): Reply {
  return { status: 500, body: { _typeName, faultstring: "" } };
}

/** A text as VI JSON has it where any type may stand. */
export function boxed(value: string): object {
  return { _typeName: "string", _value: value };
}

/** A key as vCenter names it. */
export function cryptoKeyId(keyId: string, provider?: string): object {
  const providerId = provider && { _typeName: "KeyProviderId", id: provider };
  return { _typeName: "CryptoKeyId", keyId, ...(providerId && { providerId }) };
}

/** A virtual machine with a key of its home and one of its first disk. */
export function machine(
  name: string,
  uuid: string,
  keys: { readonly home: object; readonly disk?: object },
): StandInObject {
  const disk = {
    _typeName: "VirtualDisk",
    key: 2000,
    deviceInfo: { _typeName: "Description", label: "Hard disk 1", summary: "8 GB" },
    backing: {
      _typeName: "VirtualDiskFlatVer2BackingInfo",
      fileName: `[ds] ${name}.vmdk`,
      ...(keys.disk && { keyId: keys.disk }),
    },
  };
  const network = { _typeName: "VirtualVmxnet3", key: 4000, backing: { deviceName: "VM Network" } };
  return {
    type: "VirtualMachine",
    properties: {
      name: boxed(name),
      "config.uuid": boxed(uuid),
      "config.keyId": keys.home,
      "config.hardware.device": { _typeName: "ArrayOfVirtualDevice", _value: [network, disk] },
    },
  };
}
