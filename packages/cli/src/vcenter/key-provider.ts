import type { X509Certificate } from "node:crypto";
import { OperatorError } from "@holdfast/server/operator-error";
import { Failure } from "../terminal/failure.ts";
import { type Data, listOf, referenceOf } from "./property-collector.ts";
import { certificateIn, type MoRef, type Vcenter, VcenterFault } from "./vi-json.ts";

/** A key server as vCenter knows it. */
export interface KmsServer {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/** A key provider as vCenter knows it. */
export interface KeyProvider {
  readonly id: string;
  readonly servers: readonly KmsServer[];
  readonly isDefault: boolean;
  /** `vCenter` for a standard key provider. */
  readonly managementType: string;
  /** Of a Native Key Provider: whether its key was ever backed up, where vCenter says so. */
  readonly hasBackup: boolean | undefined;
}

/** What vCenter says about a key server. */
export interface ServerStatus {
  readonly name: string;
  /** green, yellow, red; gray while vCenter does not know. */
  readonly status: string;
  /** vCenter's own words. */
  readonly connectionStatus: string;
  /** Whether vCenter trusts the server's certificate. */
  readonly trustsServer: boolean;
  /** Whether the server lets vCenter's certificate in. */
  readonly isTrusted: boolean;
  readonly serverCertificateEnds?: string;
}

/** What vCenter says about a key provider. */
export interface ProviderStatus {
  readonly id: string;
  readonly overall: string;
  readonly clientCertificateEnds?: string;
  readonly servers: readonly ServerStatus[];
}

const keyProviderId = (id: string) => ({ _typeName: "KeyProviderId", id });
/** Methods that are given the name and address of a server: their refusals are about these. */
const withAddress = new Set(["RegisterKmipServer", "RetrieveKmipServerCert"]);
/** Bit of `QueryCryptoKeyStatus`: whether the key can be had. */
const availability = 1;
const serverInfo = ({ name, address, port }: KmsServer) => ({
  _typeName: "KmipServerInfo",
  ...{ name, address, port },
});

/** Key providers of a vCenter: `CryptoManagerKmip` of the VI JSON API. */
export class KeyProviders {
  readonly #vcenter: Vcenter;
  readonly #manager: MoRef;

  constructor(vcenter: Vcenter) {
    this.#vcenter = vcenter;
    this.#manager = vcenter.cryptoManager;
  }

  async list(): Promise<readonly KeyProvider[]> {
    const found = await this.#call("ListKmsClusters", { includeKmsServers: true });
    return listOf(found).map((one) => ({
      id: idOf(one["clusterId"]),
      servers: listOf(one["servers"]).map(({ name, address, port }) => ({
        name: String(name),
        address: String(address),
        port: Number(port),
      })),
      isDefault: one["useAsDefault"] === true,
      managementType: String(one["managementType"] ?? "vCenter"),
      hasBackup: typeof one["hasBackup"] === "boolean" ? one["hasBackup"] : undefined,
    }));
  }

  async find(provider: string): Promise<KeyProvider | undefined> {
    return (await this.list()).find(({ id }) => id === provider);
  }

  /** Adds a server; the first one makes the provider. */
  async register(provider: string, server: KmsServer): Promise<void> {
    const spec = {
      _typeName: "KmipServerSpec",
      clusterId: keyProviderId(provider),
      info: serverInfo(server),
    };
    await this.#call("RegisterKmipServer", { server: spec });
  }

  async remove(provider: string, { name }: KmsServer): Promise<void> {
    const clusterId = keyProviderId(provider);
    await this.#call("RemoveKmipServer", { clusterId, serverName: name });
  }

  /** The certificate that a server shows vCenter, PEM; empty if vCenter cannot reach it. */
  async serverCertificate(provider: string, server: KmsServer): Promise<string> {
    const asked = { keyProvider: keyProviderId(provider), server: serverInfo(server) };
    const found = (await this.#call("RetrieveKmipServerCert", asked)) as Data | undefined;
    return String(found?.["certificate"] ?? "");
  }

  /** Has vCenter trust a server's certificate. */
  async trust(provider: string, certificate: string): Promise<void> {
    await this.#call("UploadKmipServerCert", { cluster: keyProviderId(provider), certificate });
  }

  /** vCenter's certificate signing request; a new one replaces the key of the one before, so an old one is used. */
  async signingRequest(provider: string): Promise<string> {
    const known = await this.#call("RetrieveClientCsr", { cluster: keyProviderId(provider) });
    if (typeof known === "string" && known !== "") return known;
    return await this.newSigningRequest(provider);
  }

  /** Has vCenter make a new key and request. */
  async newSigningRequest(provider: string): Promise<string> {
    return String(await this.#call("GenerateClientCsr", { cluster: keyProviderId(provider) }));
  }

  /** Gives vCenter the certificate of its last request. */
  async useCertificate(provider: string, certificate: string): Promise<void> {
    const cluster = keyProviderId(provider);
    await this.#call("UpdateKmsSignedCsrClientCert", { cluster, certificate });
  }

  /** vCenter's certificate; undefined if it has none for this provider. */
  async clientCertificate(provider: string): Promise<X509Certificate | undefined> {
    const cluster = keyProviderId(provider);
    return certificateIn(await this.#call("RetrieveClientCert", { cluster }));
  }

  async markDefault(provider: string): Promise<void> {
    await this.#call("MarkDefault", { clusterId: keyProviderId(provider) });
  }

  /** Asks every server of a provider anew. */
  async status({ id, servers, isDefault }: KeyProvider): Promise<ProviderStatus> {
    const asked = {
      _typeName: "KmipClusterInfo",
      clusterId: keyProviderId(id),
      useAsDefault: isDefault,
      servers: servers.map(serverInfo),
    };
    const method = "RetrieveKmipServersStatus_Task";
    const found = await this.#vcenter.task(this.#manager, method, { clusters: [asked] });
    const one = listOf(found).find(({ clusterId }) => idOf(clusterId) === id) ?? {};
    const ends = endOf(one["clientCertInfo"]);
    return {
      id,
      overall: String(one["overallStatus"] ?? "gray"),
      ...(ends === undefined ? {} : { clientCertificateEnds: ends }),
      servers: listOf(one["servers"]).map(serverStatus),
    };
  }

  /** The default provider of a cluster or folder, without that of what it is in; of the vCenter unless given. */
  async default(entity?: MoRef): Promise<string> {
    const of = entity === undefined ? {} : { entity: referenceOf(entity) };
    return idOf(await this.#call("GetDefaultKmsCluster", { ...of, defaultsToParent: false }));
  }

  /** Has vCenter make a key at a provider; answers its `CryptoKeyId`. */
  async newKey(provider: string): Promise<Data> {
    const made = (await this.#call("GenerateKey", {
      keyProvider: keyProviderId(provider),
    })) as Data;
    // A refusal of the key server is an answer, and no fault.
    if (made["success"] === true) return { _typeName: "CryptoKeyId", ...(made["keyId"] as Data) };
    throw new OperatorError(
      `vCenter got no key from ${provider}: ${String(made["reason"] ?? "it does not say why")}`,
      "again",
    );
  }

  /** Every key that registered machines and hosts use, as vCenter itself lists them. */
  async keys(): Promise<readonly Data[]> {
    return listOf(await this.#call("ListKeys", {}));
  }

  /** Why it is not proven that a provider has a key; undefined if vCenter says that it has it. */
  async doubt(provider: string, keyId: string): Promise<string | undefined> {
    const key = { _typeName: "CryptoKeyId", keyId, providerId: keyProviderId(provider) };
    const asked = { keyIds: [key], checkKeyBitMap: availability };
    const [one] = listOf(await this.#call("QueryCryptoKeyStatus", asked));
    if (one?.["keyAvailable"] === true) return undefined;
    const reason = String(one?.["reason"] ?? "it does not know");
    // Keys of a Native Key Provider are derived: vCenter asks no server for them.
    const isNative = async () => (await this.find(provider))?.managementType === "nativeProvider";
    if (reason === "KeyStateManagedByNKP" && (await isNative())) return undefined;
    return reason === "KeyStateMissingInKMS"
      ? `${provider} does not have its key ${keyId}: re-key the cluster`
      : `vCenter does not say that ${provider} has its key ${keyId} (${reason}): see that the provider is green (\`holdfast vcenter status\`), then give the command again; if this stays, re-key the cluster`;
  }

  async #call(method: string, body: unknown): Promise<unknown> {
    try {
      return await this.#vcenter.call(this.#manager, method, body);
    } catch (error) {
      const isRefused = error instanceof VcenterFault && error.fault === "InvalidArgument";
      if (!isRefused || !withAddress.has(method)) throw error;
      throw new Failure(`${error.message}: vCenter does not take this name or address`);
    }
  }
}

function serverStatus(one: Data): ServerStatus {
  const ends = endOf(one["certInfo"]);
  return {
    name: String(one["name"]),
    status: String(one["status"] ?? "gray"),
    connectionStatus: String(one["connectionStatus"] ?? ""),
    trustsServer: one["clientTrustServer"] === true,
    isTrusted: one["serverTrustClient"] === true,
    ...(ends === undefined ? {} : { serverCertificateEnds: ends }),
  };
}

function endOf(info: unknown): string | undefined {
  const ends = (info as Data | undefined)?.["notAfter"];
  return typeof ends === "string" ? ends : undefined;
}

/** Whether vCenter has seen the server's certificate. */
export function isReached({ serverCertificateEnds }: ServerStatus): boolean {
  return serverCertificateEnds !== undefined;
}

/** A server's state in vCenter's words, and who trusts whom. */
export function serverText(server: ServerStatus): string {
  const { status, connectionStatus, trustsServer, isTrusted } = server;
  return `${status}, ${connectionStatus || "no words"}; vCenter ${trustsServer ? "trusts" : "does not trust"} it, it ${isTrusted ? "trusts" : "does not trust"} vCenter`;
}

/** The names of providers, for a message. */
export function namesOf(known: readonly KeyProvider[]): string {
  return known.map(({ id }) => id).join(", ") || "none";
}

/** The name in a `KeyProviderId`; empty for none. */
export function idOf(value: unknown): string {
  return String((value as Data | undefined)?.["id"] ?? "");
}
