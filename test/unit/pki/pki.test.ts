import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NodeId } from '../../../core/types.js';
import {
  createAuthority,
  ensureAuthority,
  ensureNodeIdentity,
  issueNodeCertificate,
  type KeyPair,
  loadIdentity,
  nodeOfCertificate,
  PkiError,
} from '../../../node-agent/pki/index.js';

const NODE = '11111111-2222-4333-8444-555555555555' as NodeId;
const OTHER = '11111111-2222-4333-8444-666666666666' as NodeId;
const CLUSTER = '99999999-2222-4333-8444-555555555555';
const DAY_MS = 24 * 3600 * 1000;
const request = { node: NODE, name: 'node-1', addresses: ['127.0.0.1', 'node-1.example', '::1'] };

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pki-'));
});
afterEach(() => rm(directory, { recursive: true }));

async function write(ca: string, node: KeyPair): Promise<Parameters<typeof loadIdentity>[0]> {
  const files = {
    caCert: join(directory, 'a.crt'),
    nodeCert: join(directory, 'n.crt'),
    nodeKey: join(directory, 'n.key'),
  };
  await writeFile(files.caCert, ca);
  await writeFile(files.nodeCert, node.certificate);
  await writeFile(files.nodeKey, node.key, { mode: 0o600 });
  return files;
}

async function kindOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PkiError);
  return (error as PkiError).kind;
}

describe('certificates', () => {
  it('name the node, its addresses, and both uses', async () => {
    const authority = await createAuthority({ cluster: CLUSTER });
    const issued = await issueNodeCertificate(authority, request);
    const certificate = new X509Certificate(issued.certificate);
    expect(nodeOfCertificate(certificate)).toBe(NODE);
    expect(certificate.checkIP('127.0.0.1')).toBeDefined();
    expect(certificate.checkIP('::1')).toBeDefined();
    expect(certificate.checkHost('node-1.example')).toBe('node-1.example');
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(new X509Certificate(authority.certificate).ca).toBe(true);
    expect(certificate.verify(new X509Certificate(authority.certificate).publicKey)).toBe(true);
  });

  it('do not let a name pass for a node', async () => {
    const authority = await createAuthority({ cluster: CLUSTER });
    const issue = async (addresses: string[], node = NODE): Promise<X509Certificate> =>
      new X509Certificate((await issueNodeCertificate(authority, { node, name: 'x', addresses })).certificate);
    const tricky = await issue([`a, URI:storageos://node/${OTHER}, b`]);
    expect(nodeOfCertificate(tricky)).toBe(NODE);
    const none = await issue([], 'not-a-uuid' as NodeId);
    expect(() => nodeOfCertificate(none)).toThrow(PkiError);
  });

  it('load and are validated, each fault with its own kind', async () => {
    const authority = await createAuthority({ cluster: CLUSTER });
    const issued = await issueNodeCertificate(authority, request);
    const files = await write(authority.certificate, issued);
    const identity = await loadIdentity(files);
    expect(identity.node).toBe(NODE);
    expect(Date.parse(identity.notAfter)).toBeGreaterThan(Date.now() + 800 * DAY_MS);

    expect(await kindOf(loadIdentity(files, Date.now() + 900 * DAY_MS))).toBe('expired');
    expect(await kindOf(loadIdentity(files, Date.now() - DAY_MS))).toBe('not-yet-valid');
    expect(await kindOf(loadIdentity({ ...files, nodeKey: join(directory, 'absent') }))).toBe('missing');

    const stranger = await createAuthority({ cluster: CLUSTER });
    expect(await kindOf(loadIdentity(await write(stranger.certificate, issued)))).toBe('wrong-authority');
    const second = await issueNodeCertificate(authority, request);
    expect(await kindOf(loadIdentity(await write(authority.certificate, { ...issued, key: second.key })))).toBe(
      'key-mismatch',
    );
    expect(await kindOf(loadIdentity(await write('garbage', issued)))).toBe('malformed');
    const badKey = loadIdentity(await write(authority.certificate, { ...issued, key: `${issued.key.slice(0, 60)}\n` }));
    expect(await kindOf(badKey)).toBe('malformed');
    await badKey.catch((error: Error) => expect(error.message).not.toContain(issued.key.slice(30, 60)));
    // A node's certificate cannot act as an authority.
    const forged = await issueNodeCertificate(issued, { ...request, node: OTHER });
    expect(await kindOf(loadIdentity(await write(issued.certificate, forged)))).toBe('wrong-authority');
  });
});

describe('files', () => {
  it('are made at the first start, kept, and secret', async () => {
    const authority = await ensureAuthority(join(directory, 'ca'), { cluster: CLUSTER });
    expect(await ensureAuthority(join(directory, 'ca'), { cluster: CLUSTER })).toEqual(authority);
    const files = await ensureNodeIdentity(join(directory, 'node'), authority, request);
    const first = await loadIdentity(files);
    await ensureNodeIdentity(join(directory, 'node'), authority, request);
    expect((await loadIdentity(files)).cert).toBe(first.cert);
    for (const path of [join(directory, 'ca', 'ca.key'), files.nodeKey]) {
      expect((await stat(path)).mode & 0o777).toBe(0o600);
    }
    expect(await readFile(files.caCert, 'utf8')).toBe(authority.certificate);
  });

  it('are issued again for another node, another address, another authority, and before they expire', async () => {
    const authority = await createAuthority({ cluster: CLUSTER });
    const at = join(directory, 'node');
    const certificate = async (...args: Parameters<typeof ensureNodeIdentity>): Promise<string> =>
      (await loadIdentity(await ensureNodeIdentity(...args))).cert;
    const seen = new Set([await certificate(at, authority, request)]);
    seen.add(await certificate(at, authority, { ...request, node: OTHER }));
    seen.add(await certificate(at, authority, { ...request, node: OTHER, addresses: ['127.0.0.9'] }));
    seen.add(await certificate(at, await createAuthority({ cluster: CLUSTER }), request));
    expect(seen.size).toBe(4);
    const short = await issueNodeCertificate(authority, request, { days: 10 });
    await writeFile(join(at, 'node.crt'), short.certificate);
    await writeFile(join(at, 'node.key'), short.key);
    expect(await certificate(at, authority, request)).not.toBe(short.certificate);
  });
});
