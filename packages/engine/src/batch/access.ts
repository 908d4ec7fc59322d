import { KmipError, operationRow, type RequestMessage } from "@holdfast/kmip";

/** The caller: the instance that the certificate belongs to, and how its users' passwords are verified. */
export interface Client {
  readonly instance: string;
  /** Fingerprint of the certificate; the name of an administrator who acts for the instance. */
  readonly fingerprint: string;
  /** Additional detail in the evidence of each operation, for an administrator. */
  readonly evidence?: Readonly<Record<string, string>>;
  /** Absent when the instance has no users: a Credential is then accepted and ignored. */
  readonly verifyPassword?: ((username: string, password: string) => Promise<boolean>) | undefined;
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

function refusal(message: string): KmipError {
  return new KmipError("authenticationNotSuccessful", message);
}
