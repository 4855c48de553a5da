/** The files by which a node proves who it is, as INTERNAL_TLS_CA_CERT, INTERNAL_TLS_NODE_CERT and INTERNAL_TLS_NODE_KEY name them. */

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../core/ports.js';
import type { NodeId } from '../../core/types.js';
import { writeFileDurably } from '../durable-file.js';
import { FollowedFiles } from '../followed-files.js';
import { createAuthority, issueNodeCertificate, type KeyPair, type NodeCertificateRequest } from './authority.js';
import { PkiError } from './errors.js';
import { nodeOfCertificate } from './node-name.js';

/** Certificates and keys are smaller than this, bytes. */
const MAX_FILE_BYTES = 64 << 10;
/** A node certificate is issued again when less of its time is left. */
const RENEW_BEFORE_MS = 30 * 24 * 3600 * 1000;

export interface IdentityFiles {
  readonly caCert: string;
  readonly nodeCert: string;
  readonly nodeKey: string;
}

/** What a TLS endpoint needs: PEM texts, and the node that the certificate names. */
export interface TlsIdentity {
  readonly node: NodeId;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** RFC 3339. */
  readonly notAfter: string;
}

/** File names below the cluster's certificate directory. */
export const AUTHORITY_FILES = { certificate: 'ca.crt', key: 'ca.key' } as const;
export const NODE_FILES = { certificate: 'node.crt', key: 'node.key' } as const;

/**
 * Reads and validates a node's identity at `now` (milliseconds since 1970).
 * Errors: PkiError, whose message names the file.
 */
export async function loadIdentity(files: IdentityFiles, now = Date.now()): Promise<TlsIdentity> {
  const [ca, cert, key] = await Promise.all([read(files.caCert), read(files.nodeCert), read(files.nodeKey)]);
  const authority = parseCertificate(ca, files.caCert);
  const certificate = parseCertificate(cert, files.nodeCert);
  checkValidity(authority, files.caCert, now);
  checkValidity(certificate, files.nodeCert, now);
  if (!authority.ca || !certificate.checkIssued(authority) || !certificate.verify(authority.publicKey)) {
    throw new PkiError('wrong-authority', `${files.nodeCert} was not issued by ${files.caCert}`);
  }
  if (!certificate.checkPrivateKey(parseKey(key, files.nodeKey))) {
    throw new PkiError('key-mismatch', `${files.nodeKey} is not the key of ${files.nodeCert}`);
  }
  const notAfter = new Date(certificate.validTo).toISOString();
  return { node: nodeOfCertificate(certificate), ca, cert, key, notAfter };
}

/**
 * The same, and whenever one of the files is replaced: for endpoints that go on while certificates are renewed. A
 * certificate of another node is trouble. Errors: like `loadIdentity`.
 */
export async function followIdentity(
  files: IdentityFiles,
  options: { readonly clock: Clock; readonly onTrouble: (error: Error) => void },
): Promise<FollowedFiles<TlsIdentity>> {
  const first = await loadIdentity(files);
  const read = async (): Promise<TlsIdentity> => {
    const identity = await loadIdentity(files);
    if (identity.node !== first.node) {
      throw new PkiError('wrong-node', `${files.nodeCert} is now that of node ${identity.node}, this is ${first.node}`);
    }
    return identity;
  };
  const same = (a: TlsIdentity, b: TlsIdentity): boolean => a.cert === b.cert && a.key === b.key && a.ca === b.ca;
  return new FollowedFiles({ read, same, ...options }, first);
}

/** The authority in `directory`, made at the first call. Errors: PkiError. */
export async function ensureAuthority(directory: string, options: { cluster: string }): Promise<KeyPair> {
  const paths = {
    certificate: join(directory, AUTHORITY_FILES.certificate),
    key: join(directory, AUTHORITY_FILES.key),
  };
  if (!(await exists(paths.key))) {
    const made = await createAuthority(options);
    // The key last: without it, an interrupted start begins again.
    await writeFileDurably(paths.certificate, made.certificate);
    await writeFileDurably(paths.key, made.key, 0o600);
    return made;
  }
  const [certificate, key] = await Promise.all([read(paths.certificate), read(paths.key)]);
  const parsed = parseCertificate(certificate, paths.certificate);
  checkValidity(parsed, paths.certificate, Date.now());
  if (!parsed.checkPrivateKey(parseKey(key, paths.key))) {
    throw new PkiError('key-mismatch', `${paths.key} is not the key of ${paths.certificate}`);
  }
  return { certificate, key };
}

/**
 * A node's files below `directory`: ca.crt, node.crt, node.key. They are kept while they are valid for this node
 * and authority for another 30 days, and issued anew otherwise. Returns their paths.
 * Errors: those of the file system; PkiError for an unreadable authority.
 */
export async function ensureNodeIdentity(
  directory: string,
  authority: KeyPair,
  request: NodeCertificateRequest,
): Promise<IdentityFiles> {
  const files: IdentityFiles = {
    caCert: join(directory, AUTHORITY_FILES.certificate),
    nodeCert: join(directory, NODE_FILES.certificate),
    nodeKey: join(directory, NODE_FILES.key),
  };
  await writeFileDurably(files.caCert, authority.certificate);
  if (await isUsable(files, request)) return files;
  const issued = await issueNodeCertificate(authority, request);
  await writeFileDurably(files.nodeKey, issued.key, 0o600);
  await writeFileDurably(files.nodeCert, issued.certificate);
  return files;
}

async function isUsable(files: IdentityFiles, request: NodeCertificateRequest): Promise<boolean> {
  try {
    const identity = await loadIdentity(files, Date.now() + RENEW_BEFORE_MS);
    const certificate = new X509Certificate(identity.cert);
    return (
      identity.node === request.node &&
      request.addresses.every(
        (name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined,
      )
    );
  } catch (error) {
    if (error instanceof PkiError) return false;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function read(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) throw new PkiError('malformed', `${path} is too large for a certificate or key`);
    return await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new PkiError('missing', `${path} does not exist`, { cause });
    }
    throw cause;
  }
}

function parseCertificate(pem: string, path: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new PkiError('malformed', `${path} holds no certificate in PEM form`, { cause });
  }
}

/** The cause is left out on purpose: it might quote the key. */
function parseKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new PkiError('malformed', `${path} holds no private key in PEM form`);
  }
}

function checkValidity(certificate: X509Certificate, path: string, now: number): void {
  if (now > Date.parse(certificate.validTo)) {
    throw new PkiError('expired', `${path} was valid until ${certificate.validTo}`);
  }
  if (now < Date.parse(certificate.validFrom)) {
    throw new PkiError('not-yet-valid', `${path} is valid from ${certificate.validFrom}; is the clock right?`);
  }
}
