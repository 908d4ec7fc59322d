import {
  choice,
  file,
  group,
  integer,
  list,
  optional,
  optionalGroup,
  remoteAddress,
  shortName,
  text,
  writtenFile,
} from "./setting.ts";

/** The settings of the audit trail. */
export const auditSettings = group("Evidence of what was done.", {
  reads: choice(
    "`batched`: events of reads are written within 20 ms. `strict`: a read is answered after its event is durable.",
    ["batched", "strict"],
    "batched",
  ),
  entriesMax: integer(
    "The hard limit of the audit trail: about how many entries the store keeps of an instance that has its partition to itself. Where several share one, each has a quarter of that, and what they write beyond it has the limit together. Beyond the limit the oldest are deleted, even those that no sink has yet, which is reported. A change applies to what is written from then on.",
    { min: 1000, max: 1_000_000_000, default: 1_000_000 },
  ),
  names: choice(
    "Actions as IBM's service names them now, or as it did in 2019 (`kmip-key.retrieve` for `kmip-key.read`).",
    ["current", "2019"],
    "current",
  ),
  account: text(
    "The account in the resource names (CRN) of events.",
    "1 to 64 letters, digits, dots, underscores or hyphens",
    /^[A-Za-z0-9._-]{1,64}$/,
    "holdfast",
  ),
  retentionDays: integer(
    "Events older than this are removed from the store, once every sink has them.",
    { min: 1, max: 36_500, default: 365 },
    "days",
  ),
  retentionBytes: optional(
    integer(
      "When the events in the store are larger than this in total, the oldest are removed, once every sink has them; each counts 64 bytes more than its size. At most a quarter of the `maxmemory` of the store's Redis, which is also the default; 1 GiB where that has no `maxmemory`. Beyond the quarter they are removed even if a sink does not have them, which is reported.",
      { min: 1_048_576, max: 1_099_511_627_776 },
      "bytes",
    ),
  ),
  file: optionalGroup(
    "Events to a file at the leader's node, one JSON object a line, mode 0600. Set it at every node: each may lead.",
    {
      path: writtenFile("The file; its folder must exist. Rotated files lie beside it."),
      rotateBytes: integer(
        "The file is rotated before it would be larger than this.",
        { min: 65_536, max: 17_179_869_184, default: 67_108_864 },
        "bytes",
      ),
      rotateHours: integer(
        "The file is rotated when it is older than this.",
        { min: 1, max: 8_760, default: 24 },
        "h",
      ),
      filesMax: integer("Rotated files that are kept; the oldest are deleted.", {
        min: 1,
        max: 100_000,
        default: 400,
      }),
    },
  ),
  log: optionalGroup(
    "A log over the audit trail, in the form of C2SP tlog-checkpoint, that witnesses cosign. The same at all nodes of a region.",
    {
      keyFile: file(
        "File with the region's key that signs the log, made by `holdfast audit-key init`; the same at every node of the region.",
      ),
      name: text(
        "How the log's name (origin) begins; `/` and the SHA-256 of the key follow.",
        "a URL without its scheme, such as holdfast.example/audit",
        /^[A-Za-z0-9][A-Za-z0-9._/-]{0,120}[A-Za-z0-9]$/,
        "holdfast/audit",
      ),
      witnesses: list("Who cosigns the log (C2SP tlog-witness).", {
        name: shortName("The witness's name in metrics and messages."),
        url: text(
          "Its submission prefix; `/add-checkpoint` follows.",
          "an http:// or https:// URL without user or password",
          /^https?:\/\/[^\s@/?#]+(\/[^\s?#]*)?$/,
        ),
        key: text(
          "Its verifier key, for cosignatures.",
          "a verifier key such as witness.example/w1+01234567+BN…",
          /^[^\s+]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$/,
        ),
        ca: optional(
          file(
            "PEM file with the authorities that its certificate must come from; the system's when left out.",
          ),
        ),
      }),
    },
  ),
  syslog: optionalGroup("Events to a syslog receiver: RFC 5424 over TLS (RFC 5425).", {
    address: remoteAddress("The receiver."),
    serverName: optional(
      text(
        "The name in the receiver's certificate, where it is not that of the address.",
        "a host name",
        /^[A-Za-z0-9.-]{1,253}$/,
      ),
    ),
    ca: optional(
      file(
        "PEM file with the authorities that the receiver's certificate must come from; the system's when left out.",
      ),
    ),
    certificate: optional(file("PEM file with this node's client certificate.")),
    key: optional(file("PEM file with its private key.")),
    facility: integer("Syslog's facility; 13 is log audit.", { min: 0, max: 23, default: 13 }),
  }),
  webhook: optionalGroup("Events to a URL: JSON arrays by POST, over HTTPS only.", {
    url: text(
      "Where to post.",
      "an https:// URL without user or password",
      /^https:\/\/[^\s@/?#]+([/?][^\s#]*)?$/,
    ),
    ca: optional(
      file(
        "PEM file with the authorities that the receiver's certificate must come from; the system's when left out.",
      ),
    ),
    header: text(
      "The header that carries the secret.",
      "the name of a header",
      /^[A-Za-z][A-Za-z0-9-]{0,63}$/,
      "Authorization",
    ),
    secretFile: optional(
      file("File with the header's value on its first line, such as `Bearer …`; may change."),
    ),
    secretEnv: optional(
      text(
        "Environment variable with the header's value.",
        "the name of a variable",
        /^[A-Za-z_]\w*$/,
      ),
    ),
    batchMax: integer("The most events in one request.", { min: 1, max: 5_000, default: 500 }),
  }),
});
