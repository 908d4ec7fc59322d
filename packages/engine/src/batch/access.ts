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
  /** The same for one of the instance's users. */
  readonly operationsOf?: ((username: string) => ReadonlySet<string> | undefined) | undefined;
  /** The instance keeps its keys: clients may neither destroy an object nor deactivate or revoke an Active one. */
  readonly keepsKeys?: boolean | undefined;
}

type Credential = RequestMessage["header"]["credentials"][number];

/**
 * Refuses a message whose credentials the instance does not accept; undefined, with nothing to await, if there is
 * nothing to verify. Per message, since a client may send a Credential in some requests of a connection only.
 */
export function authenticate(client: Client, message: RequestMessage): Promise<void> | undefined {
  const verify = client.verifyPassword;
  if (verify === undefined) return undefined;
  const { credentials } = message.header;
  const open = message.items.every(({ operation }) => operationRow(operation)?.open === true);
  if (credentials.length === 0 && open) return undefined;
  return verifyAll(credentials, verify);
}

/** All credentials of a message must be valid (KMIP 2.1, 9.4). */
async function verifyAll(
  credentials: readonly Credential[],
  verify: NonNullable<Client["verifyPassword"]>,
): Promise<void> {
  if (credentials.length === 0) throw refusal("a Credential is required");
  for (const credential of credentials) {
    if (credential.type !== "UsernameAndPassword") {
      throw refusal("only Username and Password credentials are accepted");
    }
    const { username, password } = credential;
    if (password === undefined || !(await verify(username, password))) {
      throw refusal("user name or password is wrong");
    }
  }
}

/**
 * Refuses an operation to which neither the certificate nor, where the instance has users, the user of the message is
 * limited. What needs no Credential (Query, Discover Versions) is always allowed: it shows no object.
 */
export function authorize(
  client: Client,
  message: RequestMessage,
  operation: ImplementedOperation,
): void {
  if (operationRow(operation)?.open === true) return;
  if (client.operations?.has(operation) === false) {
    throw new KmipError(
      "permissionDenied",
      "the client's certificate is limited to other operations",
    );
  }
  if (client.verifyPassword === undefined) return;
  for (const credential of message.header.credentials) {
    // `authenticate` has refused every other type.
    if (credential.type !== "UsernameAndPassword") continue;
    if (client.operationsOf?.(credential.username)?.has(operation) === false) {
      throw new KmipError("permissionDenied", "the user is limited to other operations");
    }
  }
}

function refusal(message: string): KmipError {
  return new KmipError("authenticationNotSuccessful", message);
}
