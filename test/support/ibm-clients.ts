import { randomUUID } from "node:crypto";
import { until } from "@holdfast/testing";
import { type RawAnswer, RawHttps } from "./raw-https.ts";

/** What IBM's clients send in addition to method, path and body, from their public sources. */
interface IbmClient {
  readonly headers: (token: string, instanceId: string) => Readonly<Record<string, string>>;
  /** The Go client sends a body without Content-Type, also for Terraform. */
  readonly untyped?: true;
  /** Fields of an adapter that it always sends. */
  readonly adapter?: Readonly<Record<string, string>>;
  /** How it writes `true` in a query. */
  readonly yes: string;
}

const typed = { Accept: "application/json", "Content-Type": "application/json" };

/** IBM's clients by language. */
export const ibmClients = {
  go: {
    headers: (token, instanceId) => ({
      authorization: `Bearer ${token}`,
      "bluemix-instance": instanceId,
      "correlation-id": randomUUID(),
      accept: "application/json",
      "user-agent": "keyprotect-go-client",
    }),
    untyped: true,
    adapter: { description: "" },
    yes: "true",
  },
  node: {
    headers: (token, instanceId) => ({
      ...typed,
      Authorization: `Bearer ${token}`,
      "Bluemix-Instance": instanceId,
      "X-IBMCloud-SDK-Analytics": "service_name=ibm_key_protect_api;service_version=v2",
      "Accept-Encoding": "gzip",
    }),
    yes: "true",
  },
  python: {
    headers: (token, instanceId) => ({
      ...typed,
      Authorization: `Bearer ${token}`,
      "Bluemix-Instance": instanceId,
      "Accept-Encoding": "gzip, deflate",
      Connection: "keep-alive",
    }),
    yes: "True",
  },
  java: {
    headers: (token, instanceId) => ({
      Accept: "application/json",
      "Content-Type": "application/json; charset=utf-8",
      Authorization: `Bearer ${token}`,
      "Bluemix-Instance": instanceId,
      "Accept-Encoding": "gzip",
    }),
    yes: "true",
  },
  documentation: {
    headers: (token, instanceId) => ({
      accept: "application/vnd.ibm.kms.kmip_adapter+json",
      "content-type": "application/vnd.ibm.kms.kmip_adapter+json",
      authorization: `Bearer ${token}`,
      "bluemix-instance": instanceId,
      "correlation-id": randomUUID(),
    }),
    yes: "true",
  },
} as const satisfies Readonly<Record<string, IbmClient>>;

/** A language of an IBM client. */
export type IbmLanguage = keyof typeof ibmClients;

/** A resource of an answer. */
export type Resource = Readonly<Record<string, unknown>>;

/** An answer, with its resources. */
export interface IbmReply extends RawAnswer {
  readonly resources: readonly Resource[];
  readonly metadata: Resource;
  /** The code of an error. */
  readonly code: string | undefined;
}

const types = {
  adapter: "application/vnd.ibm.kms.kmip_adapter+json",
  certificate: "application/vnd.ibm.kms.kmip_client_certificate+json",
} as const;

/** The path of all adapters. */
export const adaptersPath = "/api/v2/kmip_adapters";

/** The JSON of a new adapter or certificate. */
export function enveloped(kind: keyof typeof types, resource: object): string {
  const metadata = { collectionType: types[kind], collectionTotal: 1 };
  return JSON.stringify({ metadata, resources: [resource] });
}

/** Sends what one of IBM's clients sends, and sends a request again as they do: after 429 and 5xx. */
export class IbmCaller implements Disposable {
  readonly #https: RawHttps;
  readonly #client: IbmClient;
  readonly #token: string;
  readonly #instanceId: string;

  constructor(
    origin: string,
    ca: string,
    options: {
      readonly language: IbmLanguage;
      readonly token: string;
      readonly instanceId: string;
    },
  ) {
    this.#https = new RawHttps(origin, ca);
    this.#client = ibmClients[options.language];
    this.#token = options.token;
    this.#instanceId = options.instanceId;
  }

  /** The client's own form of a flag in a query. */
  get yes(): string {
    return this.#client.yes;
  }

  /** One request; the same headers at each attempt. */
  async ask(
    method: string,
    path: string,
    body?: string,
    more: Readonly<Record<string, string>> = {},
  ): Promise<IbmReply> {
    const headers = { ...this.#client.headers(this.#token, this.#instanceId), ...more };
    const untyped = this.#client.untyped === true;
    let answer: RawAnswer | undefined;
    let attempts = 0;
    await until(`${method} ${path} is answered`, async () => {
      attempts += 1;
      answer = await this.#https.ask({ method, path, headers, body, untyped });
      return answer.status < 500 && answer.status !== 429 ? true : answer.text;
    });
    const reply = replyOf(answer as RawAnswer);
    // An attempt without an answer may have deleted it.
    const isGone = method === "DELETE" && attempts > 1 && [404, 410].includes(reply.status);
    return isGone ? { ...reply, status: 204, text: "" } : reply;
  }

  /** Creates an adapter as this client does. */
  createAdapter(
    crkId: string,
    fields: Readonly<Record<string, string>> = {},
    more: Readonly<Record<string, string>> = {},
  ): Promise<IbmReply> {
    const profile = { profile: "native_1.0", profile_data: { crk_id: crkId } };
    const resource = { ...this.#client.adapter, ...fields, ...profile };
    return this.ask("POST", adaptersPath, enveloped("adapter", resource), more);
  }

  /** Adds a certificate to an adapter. */
  addCertificate(
    adapter: string,
    certificate: string,
    fields: Readonly<Record<string, string>> = {},
    more: Readonly<Record<string, string>> = {},
  ): Promise<IbmReply> {
    const body = enveloped("certificate", { certificate, ...fields });
    return this.ask("POST", `${adaptersPath}/${adapter}/certificates`, body, more);
  }

  [Symbol.dispose](): void {
    this.#https[Symbol.dispose]();
  }
}

function replyOf(answer: RawAnswer): IbmReply {
  const { resources = [], metadata = {} } = answer.json as Partial<IbmReply>;
  const [{ reasons = [] } = {}] = resources as readonly {
    readonly reasons?: readonly { readonly code: string }[];
  }[];
  return { ...answer, resources, metadata, code: reasons[0]?.code };
}
