import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { OperatorError } from "../base/operator-error.ts";
import { loadConfig, parseConfig } from "./config.ts";

const hash = `scrypt$32768$8$1$${"s".repeat(22)}$${"h".repeat(43)}`;
const least = `
region: eu-de
node: a1
tls: { certificate: pki/server.pem, key: /keys/server.key }
store: { address: "127.0.0.1:6379" }
rootOfTrust: { file: root.key }
`;

function messageOf(text: string): string {
  try {
    parseConfig(text, "/etc/holdfast.yaml");
  } catch (error) {
    expect(error).toBeInstanceOf(OperatorError);
    return (error as OperatorError).message;
  }
  return "accepted";
}

const peer = {
  region: "us-east",
  addresses: ["10.0.1.1:9443", "node-2:9443"],
  tls: { ca: "ca.pem", certificate: "peer.pem", key: "peer.key" },
  regionKeyFile: "region.key",
  keys: ["other.pub"],
};
const vcenter = (differs: object = {}) =>
  JSON.stringify({
    guid: "4c2c0b5a-6f3d-4d8e-9a77-0f6f1f0e9e3f",
    address: "https://vc1.example",
    viewers: ["VSPHERE.LOCAL\\Administrator", "EXAMPLE\\alice smith"],
    ...differs,
  });
const peerWith = (differs: object) => JSON.stringify({ ...peer, ...differs });

describe("a configuration", () => {
  test("without a peer describes a single region; with a peer, its defaults and paths are filled in", () => {
    expect(parseConfig(least, "/etc/holdfast.yaml").peer).toBeUndefined();
    const config = parseConfig(`${least}peer: ${JSON.stringify(peer)}`, "/etc/holdfast.yaml");
    expect(config.peer).toEqual({
      region: "us-east",
      addresses: [
        { host: "10.0.1.1", port: 9443 },
        { host: "node-2", port: 9443 },
      ],
      listen: { host: "127.0.0.1", port: 9443 },
      allowPublic: false,
      tls: { ca: "/etc/ca.pem", certificate: "/etc/peer.pem", key: "/etc/peer.key" },
      regionKeyFile: "/etc/region.key",
      keys: ["/etc/other.pub"],
      acknowledgement: "preferred",
      pushTimeoutMs: 500,
    });
  });

  test("with a peer that is empty, or has no TLS files, is refused with every missing setting", () => {
    expect(messageOf(`${least}peer:\n`).split("\n")).toHaveLength(6);
    const lines = messageOf(`${least}peer: ${peerWith({ tls: undefined })}`).split("\n");
    expect(lines.map((line) => /peer\.tls\.\w+ is missing/.exec(line)?.[0])).toEqual([
      "peer.tls.ca is missing",
      "peer.tls.certificate is missing",
      "peer.tls.key is missing",
    ]);
  });

  test("with two regions and Sentinels needs lock masters", () => {
    const sentinels = least.replace(
      /store: .*/,
      'store: { sentinels: ["127.0.0.1:26379"], name: holdfast }',
    );
    expect(messageOf(sentinels)).toBe("accepted");
    expect(messageOf(`${sentinels}peer: ${JSON.stringify(peer)}`)).toContain(
      "locks is missing: two regions need a leader in each",
    );
  });

  test("keeps an older key-encryption key for at least as long as a node may use one without asking", () => {
    const times = (keepKeksMs: number) =>
      least.replace(
        /rootOfTrust: .*/,
        `rootOfTrust: { file: root.key, kekCacheMs: 60000, keepKeksMs: ${keepKeksMs} }`,
      );
    expect(messageOf(times(60_000))).toBe("accepted");
    expect(messageOf(times(59_999))).toContain(
      "rootOfTrust.keepKeksMs is below rootOfTrust.kekCacheMs (60000)",
    );
  });

  test("takes defaults and resolves paths from its own folder", () => {
    const config = parseConfig(least, "/etc/holdfast/node.yaml");
    expect(config.kmip.listen).toEqual({ host: "127.0.0.1", port: 5696 });
    expect(config.kmip.interop).toBe(false);
    expect(config.tls).toEqual({
      certificate: ["/etc/holdfast/pki/server.pem"],
      key: ["/keys/server.key"],
      suites: "default",
    });
    expect(config.store.address).toEqual({ host: "127.0.0.1", port: 6379 });
    expect(config.rootOfTrust.file).toBe("/etc/holdfast/root.key");
    expect(config.instances).toEqual([]);
    expect(config.drainMs).toBe(10_000);
  });

  test("takes instances with files, PEM text and users", () => {
    const config = parseConfig(
      `${least}
instances:
  - name: vcenter
    certificates:
      - clients/one.pem
      - |
        -----BEGIN CERTIFICATE-----
        AAAA
        -----END CERTIFICATE-----
    users: [{ name: vc, passwordHash: "${hash}" }]
`,
      "/etc/holdfast/node.yaml",
    );
    const [instance] = config.instances;
    expect(instance?.certificates[0]).toBe("/etc/holdfast/clients/one.pem");
    expect(instance?.certificates[1]).toMatch(/^-----BEGIN/);
    expect(instance?.users).toEqual([{ name: "vc", passwordHash: hash }]);
  });

  test.each(["- a", "5", '"text"'])("that is only %s is refused with the reason", (text) => {
    expect(messageOf(text)).toBe(
      "/etc/holdfast.yaml: the configuration must be a group of settings",
    );
  });

  test.each<[string, string, string]>([
    [
      "an unknown setting",
      "kmip: { interop: false, lisen: 1 }",
      "7: kmip.lisen is not a setting; known here are listen, allowPublic, endpoints,",
    ],
    [
      "a near miss",
      "kmip: { allow_public: true }",
      "7: kmip.allow_public is not a setting; did you mean allowPublic",
    ],
    [
      "two lock masters, which are worth no more than one",
      "locks: [redis://10.0.0.1:6379, redis://10.0.0.2:6379]",
      "7: locks must be 1, 3 or 5 lock masters, not 2",
    ],
    [
      "a lock master twice",
      "locks: [redis://10.0.0.1:6379, redis://10.0.0.2:6379, rediss://10.0.0.1:6379]",
      "7: locks[2] is named twice: 10.0.0.1:6379",
    ],
    [
      "an unknown group",
      "plugins: {}",
      "7: plugins is not a setting; known here are region, node, kmip,",
    ],
    ["a wrong type", "kmip: { interop: maybe }", "7: kmip.interop must be true or false"],
    [
      "a number out of bounds",
      "kmip: { requestBytesMax: 12 }",
      "7: kmip.requestBytesMax must be a whole number from 1024 to 8388608 (bytes)",
    ],
    ["a number in place of a group", "kmip: 5", "7: kmip must be a group of settings"],
    ["a group in place of a list", "instances: { name: a }", "7: instances must be a list"],
    [
      "a host name as listener",
      "kmip: { listen: 'localhost:5696' }",
      "7: kmip.listen must be an IP address and a port, such as 127.0.0.1:5696",
    ],
    [
      "sign-in to the console without a provider whose tokens count",
      `admin: { tls: { certificate: a.pem, key: a.key }, console: { signIn: { origin: "https://kms.example", clientId: c } } }`,
      "7: admin.console.signIn needs admin.oidc: it says whose tokens count",
    ],
    [
      "a provider whose tokens may be meant for anybody",
      `admin: { tls: { certificate: a.pem, key: a.key }, oidc: { issuer: "https://iam.example", manager: [me] } }`,
      "7: admin.oidc.audience is missing: without it, tokens that are meant for others would count",
    ],
    [
      "a secret in a root key of IBM's API",
      `admin: { tls: { certificate: a.pem, key: a.key }, keyProtectApi: { instanceId: 0d1f7a52-5d0c-4c53-9a5e-0c2b6f4d9e10, rootKeys: [{ id: 7c2b1a90-3f54-4f0e-8d5b-1b6a9e3c7d21, regions: { a: { type: key-protect, instanceId: i, rootKey: k, apiKey: { value: hunter2 } } } }] } }`,
      "7: admin.keyProtectApi.rootKeys[0].regions must be a root of trust for each region",
    ],
    [
      "two root keys of IBM's API with one name",
      `admin: { tls: { certificate: a.pem, key: a.key }, keyProtectApi: { instanceId: 0d1f7a52-5d0c-4c53-9a5e-0c2b6f4d9e10, rootKeys: [{ id: 7c2b1a90-3f54-4f0e-8d5b-1b6a9e3c7d21, aliases: [x], regions: { a: { type: local } } }, { id: 7c2b1a90-3f54-4f0e-8d5b-1b6a9e3c7d22, aliases: [x], regions: { a: { type: local } } }] } }`,
      "7: admin.keyProtectApi.rootKeys[1].aliases[0] is used twice: x",
    ],
    [
      "an origin with a path",
      `admin: { tls: { certificate: a.pem, key: a.key }, console: { signIn: { origin: "https://kms.example/x", clientId: c } } }`,
      "7: admin.console.signIn.origin must be https://HOST:PORT, without a path",
    ],
    [
      "a wildcard",
      "kmip: { listen: '0.0.0.0:5696' }",
      "7: kmip.listen is a wildcard address (0.0.0.0:5696); set kmip.allowPublic: true if that is intended",
    ],
    [
      "peer TLS without a key",
      `peer: ${peerWith({ tls: { ca: "ca.pem", certificate: "peer.pem" } })}`,
      "7: peer.tls.key is missing: set it to the path of a file",
    ],
    [
      "a peer without addresses",
      `peer: ${peerWith({ addresses: [] })}`,
      "7: peer.addresses must be a list of one or more hosts with ports",
    ],
    [
      "a peer that is this region",
      `peer: ${peerWith({ region: "eu-de" })}`,
      "7: peer.region is this region's own name: eu-de",
    ],
    [
      "a peer's address twice",
      `peer: ${peerWith({ addresses: ["10.0.1.1:9443", "10.0.1.1:9443"] })}`,
      "7: peer.addresses[1] is named twice: 10.0.1.1:9443",
    ],
    [
      "this node as its own peer",
      `peer: ${peerWith({ listen: "10.0.1.1:9443" })}`,
      "7: peer.addresses[0] is peer.listen, this node itself",
    ],
    [
      "a public peer port",
      `peer: ${peerWith({ listen: "0.0.0.0:9443" })}`,
      "7: peer.listen is a wildcard address (0.0.0.0:9443); set peer.allowPublic: true",
    ],
    [
      "a peer port that is taken",
      `peer: ${peerWith({ listen: "127.0.0.1:9464" })}`,
      "7: peer.listen is the address of http.listen; give it its own",
    ],
    [
      "a wildcard (IPv6)",
      "http: { listen: '[::]:1' }",
      "7: http.listen is a wildcard address ([::]:1); set http.allowPublic: true",
    ],
    [
      "a public address",
      "health: { listen: '8.8.8.8:1' }",
      "7: health.listen is a public address (8.8.8.8:1); set health.allowPublic: true",
    ],
    [
      "one address twice",
      "http: { listen: '127.0.0.1:5696' }",
      "7: http.listen is the address of kmip.listen; give it its own",
    ],
    [
      "an audit file that is the root key",
      "audit: { file: { path: ./root.key } }",
      "7: audit.file.path is the file of rootOfTrust.file too, and the node writes it: name another file",
    ],
    [
      "an audit file that is the configuration",
      "audit: { file: { path: holdfast.yaml } }",
      "7: audit.file.path is the configuration too, and the node writes it: name another file",
    ],
    ["a bad word", "log: { level: loud }", "7: log.level must be one of debug, info, warn, error"],
    [
      "a lock master with a password",
      "locks: ['redis://u:p@h:1']",
      "7: locks must be a list of URLs like redis://127.0.0.1:6380, without user or password",
    ],
    [
      "an instance without a name",
      "instances: [{ certificates: [a.pem] }]",
      "7: instances[0].name is missing: set it to 1 to 32 lower-case letters",
    ],
    [
      "an unknown setting of an instance",
      "instances: [{ name: a, cert: [] }]",
      "7: instances[0].cert is not a setting; did you mean certificates",
    ],
    [
      "one name twice",
      "instances: [{ name: a }, { name: b }, { name: a }]",
      "7: instances[2].name is the same as in instances[0]: a",
    ],
    [
      "a user twice",
      `instances: [{ name: a, users: [{ name: u, passwordHash: "${hash}" }, { name: u, passwordHash: "${hash}" }] }]`,
      "7: instances[0].users[1].name is the same as in instances[0].users[0]: u",
    ],
    [
      "a clear password",
      "instances: [{ name: a, users: [{ name: u, passwordHash: hunter2 }] }]",
      "7: instances[0].users[0].passwordHash must be a hash made by `hash-password`",
    ],
    [
      "a URL with a secret that cannot be read",
      "audit: { webhook: { url: https://siem:99999/?key=s3cret } }",
      "7: audit.webhook.url is not a URL; check its host and port",
    ],
    [
      "an unknown word for reads in the audit trail",
      "audit: { reads: sometimes }",
      "7: audit.reads must be one of batched, strict",
    ],
  ])("with %s is refused, naming file, line, setting and fix", (_name, line, message) => {
    const says = messageOf(`${least}${line}\n`);
    expect(says.startsWith(`/etc/holdfast.yaml:${message}`), says).toBe(true);
    expect(says).not.toContain("hunter2");
    expect(says.split("\n")).toHaveLength(1);
  });

  test.each<[string, string, string]>([
    ["nothing", "", "/etc/holdfast.yaml: region is missing: set it to 1 to 32 lower-case letters"],
    [
      "no store",
      least.replace(/store:.*\n/, ""),
      "/etc/holdfast.yaml: store.address is missing: set it, or sentinels and name",
    ],
    [
      "an empty store",
      least.replace(/store:.*\n/, "store:\n"),
      "/etc/holdfast.yaml:5: store.address is missing",
    ],
    [
      "sentinels without name",
      least.replace(/store:.*\n/, "store: { sentinels: ['h:1'] }\n"),
      "/etc/holdfast.yaml:5: store.name is missing: Sentinels need it",
    ],
    [
      "two ways to a password",
      least.replace('6379"', '6379", passwordFile: a, passwordEnv: B'),
      "/etc/holdfast.yaml:5: store.passwordEnv and store.passwordFile exclude each other",
    ],
    [
      "keys without certificates",
      least.replace("key: /keys/server.key", "key: [a, b]"),
      "/etc/holdfast.yaml:4: tls.key must name as many files as tls.certificate",
    ],
    [
      "a cipher suite that FIPS mode refuses",
      `${least.replace("key: /keys/server.key", "key: /keys/server.key, suites: kmip-basic")}fips: required\n`,
      "/etc/holdfast.yaml:4: tls.suites must be default with `fips: required`: RSA key exchange",
    ],
    [
      "a distribution point by LDAP",
      `${least}crls: [{ authority: a.pem, urls: ["ldap://h/cn=a"] }]\n`,
      "/etc/holdfast.yaml:7: crls[0].urls must be a list of http:// URLs without user or password; https and LDAP are not",
    ],
    [
      "an authority without a list",
      `${least}crls: [{ authority: a.pem }]\n`,
      "/etc/holdfast.yaml:7: crls[0] names no list: set files or urls",
    ],
    [
      "a vCenter that is named twice",
      `${least}admin: { tls: { certificate: c, key: k }, console: { vcenters: [${vcenter()}, ${vcenter()}] } }\n`,
      "/etc/holdfast.yaml:7: admin.console.vcenters[1].guid is the same as in admin.console.vcenters[0]",
    ],
    [
      "an address of a vCenter with a path",
      `${least}admin: { tls: { certificate: c, key: k }, console: { vcenters: [${vcenter({ address: "https://vc/ui" })}] } }\n`,
      "/etc/holdfast.yaml:7: admin.console.vcenters[0].address must be https://HOST, with :PORT unless",
    ],
    [
      "a user of vCenter without a domain",
      `${least}admin: { tls: { certificate: c, key: k }, console: { vcenters: [${vcenter({ viewers: ["alice"] })}] } }\n`,
      "/etc/holdfast.yaml:7: admin.console.vcenters[0].viewers must be a list of one or more users as DOMAIN",
    ],
    [
      "a vCenter without users",
      `${least}admin: { tls: { certificate: c, key: k }, console: { vcenters: [${vcenter({ viewers: [] })}] } }\n`,
      "/etc/holdfast.yaml:7: admin.console.vcenters[0].viewers must be a list of one or more users as DOMAIN",
    ],
    [
      "no key",
      least.replace(", key: /keys/server.key", ""),
      "/etc/holdfast.yaml:4: tls.key is missing: set it to the path of a file",
    ],
    ["a scalar", "hello", "/etc/holdfast.yaml"],
    [
      "a repeated key",
      `${least}node: b\n`,
      "/etc/holdfast.yaml:7: not YAML: Map keys must be unique",
    ],
    ["broken YAML", "a: [", "/etc/holdfast.yaml:1: not YAML:"],
    [
      "two YAML documents",
      `${least}---\n${least}`,
      "/etc/holdfast.yaml:7: a second YAML document begins here: keep one",
    ],
    [
      "a YAML bomb of aliases",
      `a: &a [1]\nb: &b [${"*a,".repeat(99)}]\nc: [${"*b,".repeat(99)}]`,
      "/etc/holdfast.yaml: not YAML: Excessive alias count",
    ],
  ])("with %s is refused", (_name, text, message) => {
    const says = messageOf(text);
    expect(says.startsWith(message), says).toBe(true);
  });

  test("is refused with all its faults at once, each with its line", () => {
    const says = messageOf(`${least}kmip: { interop: 3, pipelineMax: 0 }\n`);
    expect(says.split("\n")).toEqual([
      "/etc/holdfast.yaml:7: kmip.interop must be true or false",
      "/etc/holdfast.yaml:7: kmip.pipelineMax must be a whole number from 1 to 1024",
    ]);
  });

  test("may have a public address where allowPublic is set", () => {
    const config = parseConfig(
      `${least}kmip: { listen: "0.0.0.0:5696", allowPublic: true }\nhttp: { listen: "10.1.2.3:1" }\n`,
      "x.yaml",
    );
    expect(config.kmip.listen.host).toBe("0.0.0.0");
  });

  test("whose file does not exist or cannot be read is refused with its path", () => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-config-"));
    expect(() => loadConfig(join(folder, "no.yaml"))).toThrow(`${folder}/no.yaml: no such file`);
    expect(() => loadConfig(folder)).toThrow(`${folder}: cannot be read`);
    writeFileSync(join(folder, "a.yaml"), least);
    expect(loadConfig(join(folder, "a.yaml")).region).toBe("eu-de");
  });
});
