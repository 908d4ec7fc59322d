import {
  type ImplementedOperation,
  KmipError,
  operationRow,
  type RequestMessage,
} from "@holdfast/kmip";

/** The caller: the instance that the certificate belongs to, and how its users' passwords are verified. */
export interface Client {
  readonly instance: string;
  /** Fingerprint of the certificate; the name of an administrator who acts for the instance. */
  readonly fingerprint: string;
  /** Additional detail in the evidence of each operation, for an administrator. */
  readonly evidence?: Readonly<Record<string, string>>;
  /** Absent when the instance has no users: a Credential is then accepted and ignored. */
  readonly verifyPassword?: ((username: string, password: string) => Promise<boolean>) | undefined;
  /** The operations that its certificate is limited to; undefined = all. */
  readonly operations?: ReadonlySet<string> | undefined;
  /** The same for one of the instance's users as they are now; empty = none, for a user that does not exist. */
  readonly operationsOf?: ((username: string) => ReadonlySet<string> | undefined) | undefined;
  /** The instance keeps its keys: clients may neither destroy an object, nor revoke an Active one, nor change a Deactivation Date. */
  readonly keepsKeys?: boolean | undefined;
  /** How long destroyed objects can be restored, seconds; their material is erased at once unless given. */
  readonly destroyDelaySeconds?: number | undefined;
}

type Credential = RequestMessage["header"]["credentials"][number];

/** A user whose password was verified for a message, and the operations that it was limited to at that time. */
export interface MessageUser {
  readonly username: string;
  readonly operations: Client["operations"];
}

/**
 * Verifies the credentials of a message and answers its users; undefined, with nothing to await, if there is nothing to
 * verify. Per message, since a client may send a Credential in some requests of a connection only. Rejects with a
 * `KmipError` if the instance does not accept a credential.
 */
export function authenticate(
  client: Client,
  message: RequestMessage,
): Promise<readonly MessageUser[]> | undefined {
  const verify = client.verifyPassword;
  if (verify === undefined) return undefined;
  const { credentials } = message.header;
  const open = message.items.every(({ operation }) => operationRow(operation)?.open === true);
  if (credentials.length === 0 && open) return undefined;
  return verifyAll(client, credentials, verify);
}

/** All credentials of a message must be valid (KMIP 2.1, 9.4). */
async function verifyAll(
  client: Client,
  credentials: readonly Credential[],
  verify: NonNullable<Client["verifyPassword"]>,
): Promise<readonly MessageUser[]> {
  const users: MessageUser[] = [];
  if (credentials.length === 0) throw refusal("a Credential is required");
  for (const credential of credentials) {
    if (credential.type !== "UsernameAndPassword") {
      throw refusal("only Username and Password credentials are accepted");
    }
    const { username, password } = credential;
    const operations = client.operationsOf?.(username);
    if (password === undefined || !(await verify(username, password))) {
      throw refusal("user name or password is wrong");
    }
    users.push({ username, operations });
  }
  return users;
}

/** Refuses an operation that a limit does not allow. */
export function authorize(
  client: Client,
  users: readonly MessageUser[],
  operation: ImplementedOperation,
): void {
  const says = limitRefusing(client, users, operation);
  if (says !== undefined) throw new KmipError("permissionDenied", says);
}

/**
 * Which limit does not allow an operation, in words: that of the certificate, or that of a user of the message, which is
 * the one of the time when the password was verified and the one of now. What needs no Credential (Query, Discover
 * Versions) is always allowed: it shows no object.
 */
export function limitRefusing(
  client: Client,
  users: readonly MessageUser[],
  operation: ImplementedOperation,
): string | undefined {
  if (operationRow(operation)?.open === true) return undefined;
  if (client.operations?.has(operation) === false) {
    return "the client's certificate is limited to other operations";
  }
  for (const { username, operations } of users) {
    const limits = [operations, client.operationsOf?.(username)];
    if (limits.some((limit) => limit?.has(operation) === false)) {
      return "the user is limited to other operations, or was deleted";
    }
  }
  return undefined;
}

function refusal(message: string): KmipError {
  return new KmipError("authenticationNotSuccessful", message);
}
