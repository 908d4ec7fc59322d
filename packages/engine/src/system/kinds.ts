import { z } from "zod";
import { crkStates, instanceStatuses } from "../base/instance-status.ts";
import { recordTags as tags } from "../record/record-tags.ts";
import {
  type AnyField,
  bytes,
  defaulted,
  flag,
  json,
  keyed,
  long,
  number,
  oneOf,
  optional,
  someOf,
  text,
  words,
  wrap,
} from "./fields.ts";

/** The definition of a kind of system record. */
interface RecordKind {
  /** The object type, in the range that KMIP leaves to extensions (KMIP 2.1, 11.39). */
  readonly type: number;
  /** The part that never changes and is the same in every region. */
  readonly fixed: Readonly<Record<string, AnyField>>;
  /** Registers: the last writer of each wins, in all regions. */
  readonly fields: Readonly<Record<string, AnyField>>;
  /** What a record may claim: at most one live record in the store has the same claim with the same values. */
  readonly claims?: readonly string[];
  /** Whether a destroyed fact deletes a record for ever. One such fact about a KEK would close all keys under it. */
  readonly deletable: boolean;
  /** Records with this value belong to an instance, by their `instance`, and are deleted with it. */
  readonly belongsTo?: "instance";
  /** A fixed field by which records can be found. */
  readonly key?: string;
}

const sha256 = text({ form: /^[0-9a-f]{64}$/ });
/** 32 bytes in base64, in its one form. */
const base64Key = text({ form: /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/ });
/** Every kind keeps its name in the same register. */
const name = defaulted(text({ tag: tags.InstanceName }), "");
const wantedStatus = oneOf(["Inactive", "Configuring", "Installed", "Removing"]);

/** The next generation must be a safe number too: otherwise a region retired up to the last one could never come back. */
const generationMax = 2 ** 32;

/** A deletion under way, as the instance's record holds it. */
export type Removal = z.output<typeof removal>;
const removal = z.object({
  id: z.string(),
  /** `reserved`: it may still be cancelled. `decided`: any leader finishes it. */
  phase: z.enum(["reserved", "decided"]),
  force: z.boolean(),
  atMs: z.number(),
  by: z.string(),
  byId: z.string(),
});

/** The state of a region's root of trust for an instance. */
export type CrkState = z.output<typeof crkState>;
const crkState = z.enum(crkStates);

/** What a region's leader last found out about an instance. */
export type RegionState = z.output<typeof regionState>;
const regionState = z.object({
  status: z.enum(instanceStatuses),
  /** Why it is not Installed there, or what is about to end; empty if nothing is wrong. */
  reason: z.string(),
  atMs: z.number(),
  /** The root of trust's own name; empty until it has returned it. */
  root: z.string(),
  crkState,
  version: z.string(),
  graceUntilMs: z.number().optional(),
});

/** An administrator's order about an instance's open keys, in every region. */
export type KeysOrder = z.output<typeof keysOrder>;
const keysOrder = z.object({
  /** A new one for each order, so that every node carries out each order. */
  id: z.string(),
  atMs: z.number(),
  by: z.string(),
});
/** It opens what exactly one order shredded: an order that its author did not know stays in force. */
const openOrder = keysOrder.extend({ ends: z.string() });

/** How far a region's records of an instance are under a KEK that seals. */
export type RekeyState = z.output<typeof rekeyState>;
const rekeyState = z.object({
  /** The region's data that was looked at: its replication id. Another one may hold records of an earlier time. */
  store: z.string(),
  resealed: z.number(),
  /** At most so many records may need an older KEK. */
  left: z.number(),
  /** Copies in the region's quarantine, which may need one too. */
  quarantined: z.number(),
  reason: z.string(),
  atMs: z.number(),
  /** Since when nothing is left, by the region's clock. */
  sinceMs: z.number().optional(),
  /** The KEK under which the region withholds; of older ones nothing is left. */
  withheld: z.string().optional(),
});

/** One scheduled backup, as the region's record of backups keeps it. */
export type BackupRun = z.output<typeof backupRun>;
const backupRun = z.object({
  file: z.string(),
  startedMs: z.number(),
  endedMs: z.number(),
  records: z.number().int(),
  bytes: z.number().int(),
  ok: z.boolean(),
  reason: z.string(),
});

const backupWhat = z.enum(["create", "verify", "plan"]);

/** What an administrator asked a region's leader to do with backups. */
export type BackupOrder = z.output<typeof backupOrder>;
const backupOrder = z.object({
  /** A new one for each order, so that each is carried out once. */
  id: z.string(),
  what: backupWhat,
  /** The name of the backup; empty where one is to be made. */
  backup: z.string(),
  atMs: z.number(),
  by: z.string(),
});

/** How far the leader is with an order, or what came of it. */
export type BackupWork = z.output<typeof backupWork>;
const backupWork = z.object({
  ...backupOrder.shape,
  node: z.string(),
  state: z.enum(["running", "done", "failed"]),
  startedMs: z.number(),
  /** When this was written. */
  toldMs: z.number(),
  step: z.string(),
  done: z.number(),
  of: z.number(),
  lines: z.array(z.string()),
});

/** A signature of a request's approval, as it was handed in: the signer's public key is its key in the record. */
export type ApprovalSignature = z.output<typeof approvalSignature>;
const approvalSignature = z.object({
  /** The whole line of the signature's file. */
  line: z.string(),
  atMs: z.number(),
  by: z.string(),
});

/** How far the one use of an approved request has got. */
export type ApprovalUse = z.output<typeof approvalUse>;
const approvalUse = z.object({
  /** `begun`: a node carries it out. `failed`: nothing came of it. `done`: it is over for ever. */
  state: z.enum(["begun", "failed", "done"]),
  /** The call that uses it. */
  requestId: z.string(),
  region: z.string(),
  node: z.string(),
  atMs: z.number(),
});

/** A reference to a root of trust. Its form depends on the kind of root of trust. */
const rootReference = json(z.unknown());

/**
 * Every kind of system record. They belong to `systemInstance` and regions share them like every object; codec,
 * index, claims and what is deleted with an instance follow from a kind's row.
 */
export const recordKinds = {
  Instance: {
    type: 0x80000001,
    fixed: { instance: text({ tag: tags.OfInstance }) },
    fields: {
      name,
      description: defaulted(text(), ""),
      labels: defaulted(json(z.record(z.string(), z.string())), {}),
      /** Undefined for an instance that the configuration declares. */
      createdMs: number,
      createdBy: defaulted(text(), ""),
      /** The status that an administrator wants; undefined for an instance that the configuration declares. */
      status: wantedStatus,
      configuredMs: number,
      removal: json(removal),
      /** The status before the deletion that may still be cancelled. */
      removedFrom: wantedStatus,
      /** The deleted instance whose objects a restore brought here. */
      restoredFrom: text(),
      /** By region: the root of trust, the one that the instance is being moved to, those that it left. */
      root: keyed(rootReference),
      rootNext: keyed(rootReference),
      rootLeft: keyed(rootReference),
      state: keyed(json(regionState)),
      /** By the region in which it was given: the last order to shred the keys, and the last one that ended such an order. */
      shredded: keyed(json(keysOrder)),
      opened: keyed(json(openOrder)),
      /** The last order to ask the key managers. It opens nothing that was shredded. */
      revalidated: json(keysOrder),
      /** Whether KMIP clients may destroy keys, and revoke Active ones; undefined = allowed. */
      destroyOverKmip: oneOf(["refused", "allowed"]),
      /** How long destroyed keys can be restored, seconds; undefined = 0. */
      destroyDelay: number,
    },
    claims: ["name"],
    deletable: true,
  },
  Kek: {
    type: 0x80000002,
    fixed: {
      instance: text({ tag: tags.OfInstance }),
      createdMs: long(tags.MadeMs),
      check: bytes(tags.KekCheck),
      /** Whether it was made because its instance had none; an instance has only one such KEK. */
      first: flag(tags.FirstKek),
    },
    fields: {
      wraps: keyed(wrap),
      /** How often it has sealed, by the region whose nodes counted. */
      seals: keyed(number),
      /** By region: how far its records are under this KEK. Not in the instance's record, whose version it would change. */
      rekey: keyed(json(rekeyState)),
    },
    deletable: false,
    belongsTo: "instance",
  },
  Region: {
    type: 0x80000003,
    fixed: { region: text({ tag: tags.OfRegion }) },
    fields: {
      /** Grows each time the region rejoins. */
      generation: defaulted(long(tags.Generation, generationMax), 0),
      /** The highest generation that was retired; 0 for none. */
      retired: defaulted(long(tags.Retired, generationMax), 0),
    },
    deletable: false,
  },
  Certificate: {
    type: 0x80000004,
    fixed: {
      instance: text(),
      /** `client`: accepted as it is; `authority`: what it issues is accepted. */
      kind: oneOf(["client", "authority"]),
      /** How it came to its instance. */
      origin: oneOf(["added", "signed", "issued", "adopted"]),
      /** SHA-256 of the certificate. */
      fingerprint: sha256,
      subject: text(),
      issuer: text(),
      serial: text(),
      notBeforeMs: number,
      notAfterMs: number,
      createdMs: number,
      createdBy: text(),
      pem: text(),
    },
    fields: {
      name,
      /** The PEM text as it was given, where that differs from `pem`: other line ends, or space around it. */
      pemGiven: text(),
      /** The last warning of its expiry that was reported: how many days before. */
      expiryTold: defaulted(number, Number.POSITIVE_INFINITY),
      /** See `allowedOperations`; undefined = all. */
      operations: words,
    },
    /** Its name in the instance; in the system, the certificate itself and, for an authority, who signs with it. */
    claims: ["name", "certificate", "signer"],
    deletable: true,
    belongsTo: "instance",
    key: "fingerprint",
  },
  Token: {
    type: 0x80000005,
    fixed: {
      /** SHA-256 of the token, which is 256 random bits and cannot be guessed. */
      hash: sha256,
      /** One or more: what its holder may do. */
      role: someOf(["viewer", "auditor", "operator", "security-officer", "manager"]),
      /** Identifiers; left out = all. */
      instances: optional(json(z.array(z.string()).readonly())),
      /** It reaches only instances that have all of these; left out = whatever their labels. */
      labels: optional(json(z.record(z.string(), z.string()))),
      createdMs: number,
      createdBy: text(),
      expiresMs: number,
      /** `bootstrap`: made with a one-time file. */
      origin: oneOf(["api", "bootstrap"]),
    },
    fields: { name },
    /** `first`: if one-time tokens are used at several nodes at once, only one of them makes a token. */
    claims: ["name", "first"],
    deletable: true,
    key: "hash",
  },
  User: {
    type: 0x80000006,
    fixed: { instance: text(), name: text() },
    fields: {
      /** The sealed hash of the password; without it, the user is deleted. */
      hash: text(),
      setMs: number,
      setBy: text(),
      /** See `allowedOperations`; undefined = all. */
      operations: words,
    },
    deletable: true,
    belongsTo: "instance",
  },
  Authority: {
    type: 0x80000007,
    fixed: { instance: text(), pem: text(), createdMs: number, createdBy: text() },
    /** The sealed private key. */
    fields: { key: text() },
    claims: ["instance"],
    deletable: true,
    belongsTo: "instance",
  },
  Setting: {
    type: 0x80000008,
    fixed: { kind: text(), region: text(), node: text() },
    /** What a node tells the others, as JSON of bounded size: the clients that it refused, its server certificates. */
    fields: { clients: text(), told: text() },
    deletable: true,
  },
  Backup: {
    type: 0x80000009,
    fixed: { region: text() },
    fields: {
      /** The last runs, by slot. */
      run: keyed(json(backupRun)),
      /** The last order of all; the region's leader carries it out. */
      order: json(backupOrder),
      /** The last order of each kind that the leader took up. */
      work: keyed(json(backupWork)),
    },
    deletable: true,
  },
  Deny: {
    type: 0x8000000a,
    fixed: {
      /** The certificates that it shuts out: see the server's `denialNames`. */
      match: text({ form: /^(fingerprint|serial|subject) ./s }),
      reason: text(),
      createdMs: number,
      createdBy: text(),
    },
    fields: {},
    deletable: true,
    key: "match",
  },
  ApprovalPolicy: {
    type: 0x8000000b,
    fixed: {
      /** The text that is signed: see `parsePolicy` of `@holdfast/admin`. */
      text: text(),
      /** Lines of signatures. */
      signatures: text(),
      createdMs: number,
      createdBy: text(),
    },
    fields: {
      /** Lines of signatures that cancel a change of the policy that waits. */
      cancelled: text(),
      /** By region: when its leader first saw a change that waits. */
      seen: keyed(number),
    },
    /** Its version, if its approvers signed it: two of them at once follow the same policy. */
    claims: ["version"],
    /** Who could delete a policy would need no approval any more. */
    deletable: false,
  },
  ApprovalRequest: {
    type: 0x8000000c,
    fixed: {
      /** The text that is signed: see `parseRequest` of `@holdfast/admin`. */
      text: text(),
      createdMs: number,
      createdBy: text(),
      /** Who asked: a command at a node, a token with the role manager or security-officer, or another one. */
      asker: oneOf(["node", "lead", "other"]),
    },
    fields: {
      /** The call in canonical JSON, without secrets; empty once it is of no use. */
      call: defaulted(text(), ""),
      /** By the signer's public key. */
      signature: keyed(json(approvalSignature)),
      use: json(approvalUse),
    },
    deletable: true,
  },
  ConsoleKey: {
    type: 0x8000000d,
    fixed: { createdMs: number },
    fields: {
      /** What seals sessions of the console. A deleted record has none: nobody opens their cookies any more. */
      key: base64Key,
      /**
       * By the process that ended them: sessions that ended before their time, and when that time is over. Each process
       * writes only its own list, so none is lost when several write at once, and a list gets shorter again.
       */
      ended: keyed(json(z.record(z.string(), z.number()))),
    },
    deletable: true,
  },
} as const satisfies Record<string, RecordKind>;

/** The name of a kind of system record. */
export type KindName = keyof typeof recordKinds;
