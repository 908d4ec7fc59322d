import "reflect-metadata";
import { webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  cryptoProvider,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { TlsCredentials } from "../connection.ts";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const validity = { notBefore: new Date(Date.UTC(2020, 0)), notAfter: new Date(Date.UTC(2120, 0)) };

/** Certificates of one test: a server's, with the addresses that it may have, and a client's. */
export interface TestPki {
  readonly server: { readonly cert: string; readonly key: string };
  readonly client: TlsCredentials;
}

/** Makes a fresh authority, and by it a server's and a client's certificate. */
export async function testPki(addresses: readonly string[] = ["127.0.0.1"]): Promise<TestPki> {
  cryptoProvider.set(webcrypto);
  const authorityKeys = await newKeys();
  const authority = await X509CertificateGenerator.createSelfSigned({
    ...validity,
    serialNumber: "01",
    name: "CN=Test CA",
    keys: authorityKeys,
    signingAlgorithm: algorithm,
    extensions: [new BasicConstraintsExtension(true, 0, true)],
  });
  const issue = async (name: string) => {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.create({
      ...validity,
      serialNumber: "02",
      subject: `CN=${name}`,
      issuer: authority.subject,
      publicKey: keys.publicKey,
      signingKey: authorityKeys.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new SubjectAlternativeNameExtension(addresses.map((value) => ({ type: "ip", value }))),
      ],
    });
    return { cert: certificate.toString("pem"), key: await pemOf(keys.privateKey) };
  };
  const client = await issue("client");
  return {
    server: await issue("server"),
    client: { ca: authority.toString("pem"), certificate: client.cert, key: client.key },
  };
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  const usages = ["sign", "verify"] as const;
  return (await webcrypto.subtle.generateKey(algorithm, true, usages)) as webcrypto.CryptoKeyPair;
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`;
}
