import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { vcenterItems, vcenterMessage } from "@holdfast/testing";
import { Fault } from "./fault.ts";

interface Server {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

interface Provider {
  readonly id: string;
  readonly managementType: string;
  readonly servers: Server[];
  /** Certificates of servers that vCenter trusts, PEM. */
  readonly trusted: string[];
  /** A status to show without asking the servers. */
  readonly assumed?: string | undefined;
  /** Of a native provider. */
  readonly hasBackup?: boolean | undefined;
  /** The last request, and its private key. */
  request?: { readonly csr: string; readonly key: string };
  client?: { readonly certificate: string; readonly key: string };
}

type Data = Readonly<Record<string, unknown>>;

/** What is between vCenter and its key servers. */
interface Line {
  unreachable: readonly number[];
  refusing: readonly number[];
}

const reachMs = 5000;

/** `CryptoManagerKmip` of a vCenter: providers with their servers, certificates and trust. */
export class CryptoManager {
  readonly #providers = new Map<string, Provider>();
  #default = "";
  #made = 0;
  /** Ports of key servers. */
  readonly #line: Line = { unreachable: [], refusing: [] };
  /** Keys that their provider does not have. */
  #missing: readonly string[] = [];
  /** What is said about any key instead of the truth. */
  #keyStatus: readonly Data[] | null = null;
  /** Default providers of clusters and folders, by identifier. */
  #defaults: Readonly<Record<string, string>> = {};
  /** Keys that registered machines and hosts use. */
  #keys: readonly { readonly keyId: string; readonly providerId: { readonly id: string } }[] = [];

  /**
   * For tests: what machines use, a provider that somebody else has made, other defaults, keys that are missing, what is
   * said about any key (`null`: the truth), or ports of servers that vCenter cannot reach, or that do not let it in.
   */
  use({ keys, provider, isDefault, defaults, ...more }: Data): Data {
    const { missing, keyStatus, unreachable, refusing } = more;
    if (defaults !== undefined) this.#defaults = defaults as never;
    if (keyStatus !== undefined) this.#keyStatus = keyStatus as never;
    if (Array.isArray(unreachable)) this.#line.unreachable = unreachable as never;
    if (Array.isArray(refusing)) this.#line.refusing = refusing as never;
    if (typeof isDefault === "string") this.#default = isDefault;
    if (Array.isArray(missing)) this.#missing = missing as never;
    if (Array.isArray(keys)) this.#keys = keys as never;
    if (provider !== undefined) {
      const { servers, ...about } = provider as Provider;
      this.#providers.set(about.id, { ...about, servers: [...servers], trusted: [] });
    }
    return {};
  }

  /** For tests: no provider is left. */
  forget(): Data {
    this.#providers.clear();
    return {};
  }

  /** Calls a method; its answer is `undefined` where it has none. */
  async call(method: string, body: Data): Promise<unknown> {
    const work = this.#methods[method];
    if (work === undefined) throw new Fault("MethodNotFound", method);
    return await work(body);
  }

  readonly #methods: Readonly<Record<string, (body: Data) => unknown>> = {
    ListKmsClusters: () => orNull([...this.#providers.values()].map((one) => this.#shown(one))),
    RegisterKmipServer: ({ server }) => {
      const { clusterId, info } = server as { readonly clusterId: Data; readonly info: Server };
      const { name, address, port } = info;
      if (name === "") throw new Fault("InvalidArgument", "server.info.name");
      const id = String(clusterId["id"]);
      const known = this.#providers.get(id) ?? fresh(id);
      if (known.servers.some((one) => one.name === name)) {
        throw new Fault("RuntimeFault", "Already registered");
      }
      known.servers.push({ name, address, port });
      this.#providers.set(id, known);
    },
    RemoveKmipServer: ({ clusterId, serverName }) => {
      const provider = this.#of(clusterId);
      const at = provider.servers.findIndex(({ name }) => name === serverName);
      if (at < 0) throw new Fault("InvalidArgument", "serverName");
      provider.servers.splice(at, 1);
      if (provider.servers.length === 0) this.#providers.delete(provider.id);
    },
    RetrieveKmipServerCert: async ({ server }) => ({
      _typeName: "CryptoManagerKmipServerCertInfo",
      certificate: await shownBy(server as Server, this.#line),
    }),
    UploadKmipServerCert: ({ cluster, certificate }) => {
      const { raw } = new X509Certificate(String(certificate));
      if (raw.length > 0) this.#of(cluster).trusted.push(String(certificate));
    },
    RetrieveClientCsr: ({ cluster }) => this.#of(cluster).request?.csr ?? "",
    GenerateClientCsr: ({ cluster }) => {
      const provider = this.#of(cluster);
      provider.request = newRequest();
      return provider.request.csr;
    },
    UpdateKmsSignedCsrClientCert: ({ cluster, certificate }) => {
      const { request, ...provider } = this.#of(cluster);
      const given = new X509Certificate(String(certificate));
      if (request === undefined || !fits(given, request.key)) {
        throw new Fault("InvalidArgument", "certificate");
      }
      const client = { certificate: String(certificate), key: request.key };
      this.#providers.set(provider.id, { ...provider, request, client });
    },
    RetrieveClientCert: ({ cluster }) => this.#of(cluster).client?.certificate ?? "",
    MarkDefault: ({ clusterId }) => {
      this.#default = this.#of(clusterId).id;
    },
    ListKeys: () => orNull(this.#keys),
    QueryCryptoKeyStatus: ({ keyIds }) =>
      orNull(this.#keyStatus ?? (keyIds as readonly Data[]).map((keyId) => this.#statusOf(keyId))),
    GenerateKey: ({ keyProvider }) => {
      this.#made += 1;
      const providerId = { _typeName: "KeyProviderId", id: this.#of(keyProvider).id };
      const keyId = { _typeName: "CryptoKeyId", keyId: `new-${this.#made}`, providerId };
      return { _typeName: "CryptoKeyResult", keyId, success: true };
    },
    GetDefaultKmsCluster: ({ entity }) => {
      const { value } = (entity ?? {}) as { readonly value?: string };
      const id = value === undefined ? this.#default : (this.#defaults[value] ?? "");
      return id === "" ? null : { _typeName: "KeyProviderId", id };
    },
    RetrieveKmipServersStatus_Task: async ({ clusters }) => ({
      _typeName: "ArrayOfCryptoManagerKmipClusterStatus",
      _value: await Promise.all(
        (clusters as readonly Data[]).map(({ clusterId }) =>
          statusOf(this.#of(clusterId), this.#line),
        ),
      ),
    }),
  };

  #of(id: unknown): Provider {
    const found = this.#providers.get(String((id as Data)["id"]));
    if (found === undefined) throw new Fault("InvalidArgument", "clusterId");
    return found;
  }

  #statusOf(keyId: Data): Data {
    const status = { _typeName: "CryptoManagerKmipCryptoKeyStatus", keyId };
    const { managementType } = this.#of(keyId["providerId"]);
    if (managementType === "nativeProvider") return { ...status, reason: "KeyStateManagedByNKP" };
    const isMissing = this.#missing.includes(String(keyId["keyId"]));
    return isMissing
      ? { ...status, keyAvailable: false, reason: "KeyStateMissingInKMS" }
      : { ...status, keyAvailable: true };
  }

  #shown({ id, managementType, servers, hasBackup }: Provider): Data {
    return {
      _typeName: "KmipClusterInfo",
      clusterId: { _typeName: "KeyProviderId", id },
      servers: servers.map((one) => ({ _typeName: "KmipServerInfo", ...one })),
      useAsDefault: this.#default === id,
      managementType,
      ...(hasBackup === undefined ? {} : { hasBackup }),
    };
  }
}

function fresh(id: string): Provider {
  return { id, managementType: "vCenter", servers: [], trusted: [] };
}

function orNull(list: readonly unknown[]): readonly unknown[] | null {
  return list.length === 0 ? null : list;
}

/** The certificate that a key server shows, PEM; empty if it cannot be reached. */
async function shownBy({ address, port }: Server, { unreachable }: Line): Promise<string> {
  if (unreachable.includes(port)) return "";
  const socket = connect({ host: address, port, rejectUnauthorized: false });
  try {
    await new Promise((resolve, reject) => {
      socket.once("secureConnect", resolve).once("error", reject);
      socket.setTimeout(reachMs, () => reject(new Error("no answer")));
    });
    return String((socket as TLSSocket).getPeerX509Certificate());
  } catch {
    return "";
  } finally {
    socket.destroy();
  }
}

/** Asks each server as vCenter does, with its own certificate. */
async function statusOf(provider: Provider, line: Line): Promise<Data> {
  const { id, servers, trusted, client, assumed } = provider;
  if (assumed !== undefined) {
    const clusterId = { _typeName: "KeyProviderId", id };
    return {
      _typeName: "CryptoManagerKmipClusterStatus",
      clusterId,
      overallStatus: assumed,
      servers: [],
    };
  }
  const asked = await Promise.all(
    servers.map(async (server) => {
      const shown = await shownBy(server, line);
      const clientTrustServer = trusted.some((pem) => pem.trim() === shown.trim()) && shown !== "";
      const isCut = [...line.unreachable, ...line.refusing].includes(server.port);
      const serverTrustClient = client !== undefined && !isCut && (await letsIn(server, client));
      const isGreen = clientTrustServer && serverTrustClient;
      return {
        _typeName: "CryptoManagerKmipServerStatus",
        ...{ name: server.name, status: isGreen ? "green" : "red" },
        connectionStatus:
          shown === "" ? "Cannot connect to key server" : isGreen ? "Connected" : "Not trusted",
        ...{ clientTrustServer, serverTrustClient },
        ...(shown === "" ? {} : { certInfo: certificateInfo(shown) }),
      };
    }),
  );
  const isGreen = asked.length > 0 && asked.every(({ status }) => status === "green");
  return {
    _typeName: "CryptoManagerKmipClusterStatus",
    clusterId: { _typeName: "KeyProviderId", id },
    overallStatus: isGreen ? "green" : "red",
    servers: asked,
    ...(client === undefined ? {} : { clientCertInfo: certificateInfo(client.certificate) }),
  };
}

function certificateInfo(pem: string): Data {
  const { subject, issuer, serialNumber, fingerprint, validFromDate, validToDate } =
    new X509Certificate(pem);
  return {
    _typeName: "CryptoManagerKmipCertificateInfo",
    ...{ subject, issuer, serialNumber, fingerprint },
    notBefore: validFromDate.toISOString(),
    notAfter: validToDate.toISOString(),
    checkTime: new Date().toISOString(),
  };
}

/** Whether a key server lets vCenter's certificate in: it answers a request. */
async function letsIn(
  { address, port }: Server,
  { certificate, key }: { readonly certificate: string; readonly key: string },
): Promise<boolean> {
  // The server's own certificate is compared by the caller.
  const tls = { cert: certificate, key, rejectUnauthorized: false };
  const socket = connect({ host: address, port, ...tls });
  socket.setTimeout(reachMs, () => socket.destroy());
  try {
    return await new Promise((resolve) => {
      socket.once("data", () => resolve(true));
      socket.once("close", () => resolve(false)).once("error", () => resolve(false));
      socket.write(vcenterMessage([vcenterItems.discoverVersions()]));
    });
  } finally {
    socket.destroy();
  }
}

function newRequest(): { readonly csr: string; readonly key: string } {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-vcenter-"));
  try {
    const made = ["-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "request.pem"];
    const subject = ["-subj", "/O=VMware/CN=vcenter"];
    execFileSync("openssl", ["req", "-new", ...made, ...subject], { cwd: folder, stdio: "ignore" });
    const read = (name: string) => readFileSync(join(folder, name), "utf8");
    return { csr: read("request.pem"), key: read("key.pem") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function fits(certificate: X509Certificate, key: string): boolean {
  return certificate.checkPrivateKey(createPrivateKey(key));
}
