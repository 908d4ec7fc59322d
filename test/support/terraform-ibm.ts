import { until } from "@holdfast/testing";
import { adaptersPath, IbmCaller, type IbmReply, type Resource } from "./ibm-clients.ts";
import { RawHttps } from "./raw-https.ts";

/** What a configuration has: an adapter, and a certificate of it. */
interface TerraformPlan {
  readonly name: string;
  readonly crkId: string;
  readonly description: string;
  readonly certificateName: string;
  readonly certificate: string;
}

/** Identifiers of what was made. */
interface TerraformState {
  readonly adapter: string;
  readonly certificate: string;
}

const grant = "urn:ibm:params:oauth:grant-type:apikey";

/**
 * The calls of Terraform's provider for `ibm_kms_kmip_adapter` and `ibm_kms_kmip_client_cert`, in its order: a token for the
 * API key, the resource instance before each operation, then the Go client's calls.
 */
export class TerraformIbm implements Disposable {
  readonly #https: RawHttps;
  readonly #caller: IbmCaller;
  readonly #jwt: string;
  readonly #instanceId: string;

  private constructor(parts: {
    readonly https: RawHttps;
    readonly caller: IbmCaller;
    readonly jwt: string;
    readonly instanceId: string;
  }) {
    this.#https = parts.https;
    this.#caller = parts.caller;
    this.#jwt = parts.jwt;
    this.#instanceId = parts.instanceId;
  }

  /** Logs in with an API key, and reads the claims without which the provider panics. */
  static async open(
    origin: string,
    ca: string,
    { apiKey, instanceId }: { readonly apiKey: string; readonly instanceId: string },
  ): Promise<TerraformIbm> {
    const https = new RawHttps(origin, ca);
    const { status, json } = await https.ask({
      method: "POST",
      path: "/identity/token",
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        authorization: "Basic Yng6Yng=",
      },
      body: new URLSearchParams({ grant_type: grant, apikey: apiKey }).toString(),
    });
    if (status !== 200) throw new Error(`no token: ${status} ${JSON.stringify(json)}`);
    const jwt = String(json["access_token"]);
    const claims = JSON.parse(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString()) as {
      readonly id: string;
      readonly account: { readonly bss: string };
    };
    if (typeof claims.id !== "string" || typeof claims.account.bss !== "string") {
      throw new Error("the provider would panic: claims are missing");
    }
    const caller = new IbmCaller(origin, ca, { language: "go", token: jwt, instanceId });
    return new TerraformIbm({ https, caller, jwt, instanceId });
  }

  /** `terraform apply` of a new configuration. */
  async apply(plan: TerraformPlan): Promise<TerraformState> {
    const { name, description, crkId, certificateName } = plan;
    await this.#endpoint();
    const adapter = idOf(await this.#caller.createAdapter(crkId, { name, description }));
    await this.#refreshAdapter(adapter);
    await this.#endpoint();
    const fields = { name: certificateName };
    const added = await this.#caller.addCertificate(adapter, plan.certificate, fields);
    const state = { adapter, certificate: idOf(added) };
    await this.#refreshCertificate(state);
    return state;
  }

  /** `terraform plan`, and `import` followed by it: names what would be made anew, since each field forces that. */
  async plan(wanted: TerraformPlan, state: TerraformState): Promise<readonly string[]> {
    const adapter = await this.#refreshAdapter(state.adapter);
    const certificate = await this.#refreshCertificate(state);
    const crkId = (adapter["profile_data"] as Resource)["crk_id"];
    const pairs: readonly (readonly [string, unknown, unknown])[] = [
      ["name", adapter["name"], wanted.name],
      ["description", adapter["description"], wanted.description],
      ["profile", adapter["profile"], "native_1.0"],
      ["profile_data", crkId, wanted.crkId],
      ["certificate name", certificate["name"], wanted.certificateName],
      ["certificate", certificate["certificate"], wanted.certificate],
    ];
    return pairs.flatMap(([field, has, wants]) => (has === wants ? [] : [field]));
  }

  /** `terraform destroy`: the certificate, the first page of objects, the adapter; answers how many objects, and the last reply. */
  async destroy({ adapter, certificate }: TerraformState) {
    await this.#endpoint();
    const gone = new Set([204, 404]);
    const path = `${adaptersPath}/${adapter}`;
    const cut = await this.#caller.ask("DELETE", `${path}/certificates/${certificate}`);
    if (!gone.has(cut.status)) throw new Error(`certificate: ${cut.status} ${cut.text}`);
    await this.#endpoint();
    const { resources } = await this.#caller.ask("GET", `${path}/kmip_objects`);
    for (const { id } of resources) {
      const object = `${path}/kmip_objects/${String(id)}?force=true`;
      const { status, text } = await this.#caller.ask("DELETE", object);
      if (![204, 404, 410].includes(status)) throw new Error(`object: ${status} ${text}`);
    }
    return { objects: resources.length, last: await this.#caller.ask("DELETE", path) };
  }

  [Symbol.dispose](): void {
    this.#https[Symbol.dispose]();
    this.#caller[Symbol.dispose]();
  }

  /** The provider indexes the answer without a check. */
  async #endpoint(): Promise<string> {
    let endpoint = "";
    await until("the resource instance is shown", async () => {
      const { status, json, text } = await this.#https.ask({
        method: "GET",
        path: `/v2/resource_instances/${this.#instanceId}`,
        token: this.#jwt,
      });
      if (status !== 200) return text;
      const { crn, extensions } = json as {
        readonly crn: string;
        readonly extensions: { readonly endpoints: Readonly<Record<string, string>> };
      };
      if (!crn.startsWith("crn:v1:")) throw new Error(`crn: ${crn}`);
      const { public: open, private: inner } = extensions.endpoints;
      if (open === undefined || inner === undefined) throw new Error("an endpoint is missing");
      endpoint = open;
      return true;
    });
    return endpoint;
  }

  async #refreshAdapter(adapter: string): Promise<Resource> {
    await this.#endpoint();
    const resource = only(await this.#caller.ask("GET", `${adaptersPath}/${adapter}`));
    // Read without a check.
    for (const field of ["created_at", "updated_at"]) {
      if (Number.isNaN(Date.parse(String(resource[field])))) throw new Error(`${field} is missing`);
    }
    return resource;
  }

  async #refreshCertificate({ adapter, certificate }: TerraformState): Promise<Resource> {
    await this.#endpoint();
    const path = `${adaptersPath}/${adapter}/certificates/${certificate}`;
    return only(await this.#caller.ask("GET", path));
  }
}

function only({ status, resources, text }: IbmReply): Resource {
  const [resource] = resources;
  if (resource === undefined || status > 201) throw new Error(`${status}: ${text}`);
  return resource;
}

function idOf(reply: IbmReply): string {
  return String(only(reply)["id"]);
}
