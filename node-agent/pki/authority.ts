/**
 * The cluster's certificate authority and the certificates that it issues to nodes: X.509 v3 (RFC 5280),
 * ECDSA on P-256 with SHA-256. Node certificates serve both ends of a connection.
 */

import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import type { NodeId } from '../../core/types.js';
import { PkiError } from './errors.js';
import { nodeUri } from './node-name.js';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 3600 * 1000;
/** Certificates are valid from a little before now, for nodes whose clocks are behind. */
const BACKDATE_MS = 3600 * 1000;

export const AUTHORITY_DAYS = 3650;
export const NODE_DAYS = 825;

x509.cryptoProvider.set(webcrypto);

/** PEM texts. `key` is PKCS #8, unencrypted: for files of mode 0600 only. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

export interface NodeCertificateRequest {
  readonly node: NodeId;
  readonly name: string;
  /** IP addresses and DNS names under which the node is reached. */
  readonly addresses: readonly string[];
}

/** A new, self-signed authority. */
export async function createAuthority(options: { cluster: string; days?: number; now?: number }): Promise<KeyPair> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [`StorageOS cluster ${options.cluster}`] }],
    ...validity(options.days ?? AUTHORITY_DAYS, options.now),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await keyPem(keys.privateKey) };
}

/**
 * A certificate for a node, for server and client authentication, with the node's id as
 * `storageos://node/<id>` among its names. Errors: PkiError('malformed') for an authority that cannot be read.
 */
export async function issueNodeCertificate(
  authority: KeyPair,
  request: NodeCertificateRequest,
  options: { days?: number; now?: number } = {},
): Promise<KeyPair> {
  const issuer = await readAuthority(authority);
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [request.name] }],
    issuer: issuer.certificate.subject,
    ...validity(options.days ?? NODE_DAYS, options.now),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: issuer.key,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.certificate.publicKey),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: nodeUri(request.node) },
        ...request.addresses.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value })),
      ]),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await keyPem(keys.privateKey) };
}

async function readAuthority(
  authority: KeyPair,
): Promise<{ certificate: x509.X509Certificate; key: webcrypto.CryptoKey }> {
  try {
    const certificate = new x509.X509Certificate(authority.certificate);
    const der = x509.PemConverter.decodeFirst(authority.key);
    const key = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
    return { certificate, key };
  } catch (cause) {
    throw new PkiError('malformed', "the cluster authority's certificate or key cannot be read", { cause });
  }
}

function validity(days: number, now = Date.now()): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now - BACKDATE_MS), notAfter: new Date(now + days * DAY_MS) };
}

/** 16 random bytes, positive (RFC 5280, 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0);
  return bytes.toString('hex');
}

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key);
  return x509.PemConverter.encode(der, 'PRIVATE KEY');
}
