import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  checkCapacity,
  checkFeature,
  checkTerm,
  entitlementOf,
  GIB,
  type LicenceTerms,
} from '../../../core/licence.js';
import { loadPrivateKey, loadPublicKeys } from '../../../node-agent/licence/index.js';
import { licenceProgram } from '../../../node-agent/licence/program.js';
import { openLicence, readTerms, signLicence } from '../../../node-agent/licence/text.js';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const other = generateKeyPairSync('ed25519');

const TERMS: LicenceTerms = {
  clusterID: randomUUID(),
  customerName: 'Example Ltd: "Süd" #1',
  kind: 'professional',
  clusterCapacityGiB: 10_240,
  expiresAt: '2027-01-01T00:00:00.000Z',
  features: ['nfs'],
};
const TEXT = signLicence(TERMS, privateKey);

describe('the text of a licence', () => {
  it('shows its terms to people, and its signature in a block', () => {
    const [terms, signature] = TEXT.split('-----BEGIN LICENCE SIGNATURE-----\n');
    expect(terms?.split('\n').map((line) => line.split(':')[0]?.trim())).toEqual([
      'clusterCapacityGiB',
      'clusterID',
      'customerName',
      'expiresAt',
      'features',
      '- nfs',
      'kind',
      '',
    ]);
    expect(signature).toMatch(/^([A-Za-z0-9+/=]{1,64}\n)+-----END LICENCE SIGNATURE-----\n$/);
  });

  it('gives the terms to who has the public key, also of an older one', () => {
    expect(openLicence(TEXT, [publicKey])).toEqual(TERMS);
    expect(openLicence(TEXT, [other.publicKey, publicKey])).toEqual(TERMS);
    expect(readTerms(TEXT)).toEqual(TERMS);
  });

  it.each([
    ['line ends of Windows', TEXT.replaceAll('\n', '\r\n')],
    ['space around it', `\n\n  ${TEXT}  \n`],
    ['no line end at its end', TEXT.trim()],
  ])('puts up with %s', (_, text) => {
    expect(openLicence(text, [publicKey])).toEqual(TERMS);
  });

  it('is worth nothing with any character of its terms, or any bit of its signature, changed', () => {
    const [terms = '', rest = ''] = TEXT.split('-----BEGIN LICENCE SIGNATURE-----\n');
    const signature = Buffer.from(rest.slice(0, rest.indexOf('-----END')), 'base64');
    const assemble = (body: string, signed: Buffer) =>
      `${body}-----BEGIN LICENCE SIGNATURE-----\n${signed.toString('base64')}\n-----END LICENCE SIGNATURE-----\n`;
    expect(openLicence(assemble(terms, signature), [publicKey])).toEqual(TERMS);
    const refused = (text: string) => expect(() => openLicence(text, [publicKey])).toThrow(/not a valid licence/);
    for (let at = 0; at < terms.length; at++) {
      refused(assemble(`${terms.slice(0, at)}${terms[at] === 'x' ? 'y' : 'x'}${terms.slice(at + 1)}`, signature));
      refused(assemble(`${terms.slice(0, at)}${terms.slice(at + 1)}`, signature));
    }
    for (let bit = 0; bit < signature.length * 8; bit++) {
      const flipped = Buffer.from(signature);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      refused(assemble(terms, flipped));
    }
  });

  it.each([
    ['nothing', ''],
    ['other text', 'hello'],
    ['no signature', TEXT.split('-----BEGIN')[0]!],
    ['an empty signature', TEXT.replace(/(BEGIN LICENCE SIGNATURE-----\n)[^-]*/, '$1')],
    ['what is too long', `${TEXT}${' '.repeat(20_000)}`],
    ['the signature of another key', signLicence(TERMS, other.privateKey)],
  ])('is none: %s', (_, text) => {
    expect(() => openLicence(text, [publicKey])).toThrow(/not a valid licence/);
  });

  it.each([
    ['no capacity', { clusterCapacityGiB: 0 }],
    ['part of a GiB', { clusterCapacityGiB: 0.5 }],
    ['a capacity without end', { clusterCapacityGiB: Number.POSITIVE_INFINITY }],
    ['no cluster', { clusterID: 'mine' }],
    ['no date', { expiresAt: 'tomorrow' }],
    ['two lines in a name', { customerName: 'a\n-----BEGIN LICENCE SIGNATURE-----' }],
    ['a field that is not known', { nodes: 5 }],
  ])('is not signed with %s', (_, patch) => {
    expect(() => signLicence({ ...TERMS, ...patch } as LicenceTerms, privateKey)).toThrow(/not a valid licence/);
  });

  it('can hold any name and features that fit in a line', () => {
    const line = fc.string({ unit: 'grapheme', maxLength: 80 }).filter((text) => !/\p{Cc}/u.test(text));
    fc.assert(
      fc.property(
        line,
        fc.array(
          line.filter((text) => text !== ''),
          { maxLength: 5 },
        ),
        (customerName, features) => {
          const terms = { ...TERMS, customerName, features };
          expect(openLicence(signLicence(terms, privateKey), [publicKey])).toEqual(terms);
        },
      ),
    );
  });
});

describe('what a licence allows', () => {
  const cluster = { createdAt: '2026-01-01T00:00:00.000Z' };
  const without = entitlementOf(cluster, undefined);
  const licensed = entitlementOf(cluster, TERMS);
  const thrown = (run: () => void) => {
    try {
      run();
      return 'allowed';
    } catch (error) {
      return error as Error & { code: string };
    }
  };

  it('without one: 24 hours and 50 GiB', () => {
    expect(without).toEqual({
      kind: 'unregistered',
      customerName: '',
      capacityBytes: 53_687_091_200,
      expiresAt: '2026-01-02T00:00:00.000Z',
      features: [],
    });
    expect(thrown(() => checkTerm(without, '2026-01-01T23:59:59.999Z'))).toBe('allowed');
    expect(thrown(() => checkTerm(without, '2026-01-02T00:00:00.000Z'))).toMatchObject({
      code: 'licence',
      message: expect.stringMatching(/2026-01-02T00:00:00.000Z.*volumes that exist stay usable/),
    });
  });

  it('volumes up to its capacity to the byte, until it ends', () => {
    const now = '2026-12-31T23:59:59.999Z';
    const capacity = 10_240 * GIB;
    const check = (usedBytes: number, requestedBytes: number, at = now) =>
      thrown(() => checkCapacity(licensed, { usedBytes, requestedBytes, now: at }));
    expect(check(capacity - GIB, GIB)).toBe('allowed');
    expect(check(capacity - GIB, GIB + 1)).toMatchObject({
      code: 'licence',
      message: expect.stringContaining(`(used ${capacity - GIB}, allowed ${capacity}, requested ${GIB + 1})`),
    });
    expect(check(0, GIB, '2027-01-01T00:00:00.000Z')).toMatchObject({ code: 'licence' });
  });

  it('features by name', () => {
    expect(thrown(() => checkFeature(licensed, 'nfs'))).toBe('allowed');
    expect(thrown(() => checkFeature(without, 'nfs'))).toMatchObject({ code: 'licence', message: /"nfs" is required/ });
  });
});

describe('the tool', () => {
  let directory: string;
  let printed: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'licence-'));
    printed = '';
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const path = (name: string) => join(directory, name);
  const keys = () => ['--private-key', path('licence.key'), '--public-key', path('licence.pub')];
  const run = (...words: string[]) =>
    licenceProgram((text) => {
      printed += text;
    })
      .exitOverride()
      .parseAsync(words, { from: 'user' });

  it('makes a key once, issues licences and verifies them', async () => {
    await run('keygen', ...keys());
    expect((await stat(path('licence.key'))).mode & 0o777).toBe(0o600);
    const key = await readFile(path('licence.key'));
    await expect(run('keygen', ...keys())).rejects.toMatchObject({ code: 'already-exists' });
    expect(await readFile(path('licence.key'))).toEqual(key);
    const cluster = randomUUID();
    await run('issue', '--private-key', path('licence.key'), '--cluster', cluster, '--days', '10');
    const accepted = await loadPublicKeys(path('licence.pub'));
    const terms = openLicence(printed, accepted);
    expect(terms).toMatchObject({ clusterID: cluster, kind: 'developer', clusterCapacityGiB: 5120, features: [] });
    const days = (Date.parse(terms.expiresAt) - Date.now()) / 86_400_000;
    expect(Math.round(days)).toBe(10);
    await writeFile(path('licence'), printed);
    printed = '';
    await run('verify', path('licence'), '--public-key', path('licence.pub'));
    expect(JSON.parse(printed)).toEqual(terms);
  });

  it('takes all terms', async () => {
    await run('keygen', ...keys());
    const words = [
      '--kind',
      'project',
      '--capacity-gib',
      '7',
      '--customer',
      'Me',
      '--feature',
      'nfs',
      '--feature',
      'x',
    ];
    await run('issue', '--private-key', path('licence.key'), '--cluster', randomUUID(), ...words);
    expect(readTerms(printed)).toMatchObject({
      kind: 'project',
      clusterCapacityGiB: 7,
      customerName: 'Me',
      features: ['nfs', 'x'],
    });
  });

  it.each([
    ['--days', '0'],
    ['--days', '36501'],
    ['--days', '1.5'],
    ['--capacity-gib', '8388609'],
    ['--cluster', 'mine'],
  ])('refuses %s %s', async (flag, value) => {
    await run('keygen', ...keys());
    const words = ['issue', '--private-key', path('licence.key'), '--cluster', randomUUID(), flag, value];
    const program = licenceProgram(() => {})
      .exitOverride()
      .configureOutput({ writeErr: () => {} });
    for (const command of program.commands) command.exitOverride().configureOutput({ writeErr: () => {} });
    await expect(program.parseAsync(words, { from: 'user' })).rejects.toThrow(/whole number|id of a cluster/);
  });

  it('uses no key that others can read, and none of another type', async () => {
    await run('keygen', ...keys());
    await chmod(path('licence.key'), 0o644);
    await expect(loadPrivateKey(path('licence.key'))).rejects.toMatchObject({ message: /0600/ });
    const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 });
    await writeFile(path('rsa.pub'), rsa.publicKey.export({ type: 'spki', format: 'pem' }));
    await expect(loadPublicKeys(path('rsa.pub'))).rejects.toMatchObject({ message: /rsa, not Ed25519/ });
    await expect(loadPublicKeys(path('nowhere'))).rejects.toMatchObject({ message: /nowhere: cannot be read: ENOENT/ });
    await writeFile(path('empty.pub'), 'x');
    await expect(loadPublicKeys(path('empty.pub'))).rejects.toMatchObject({ message: /0 public keys/ });
  });

  it('a file may hold several public keys', async () => {
    const pem = [publicKey, other.publicKey].map((key) => key.export({ type: 'spki', format: 'pem' })).join('\n');
    await writeFile(path('both.pub'), pem);
    const both = await loadPublicKeys(path('both.pub'));
    expect(both.map((key) => key.equals(publicKey) || key.equals(other.publicKey))).toEqual([true, true]);
    expect(openLicence(signLicence(TERMS, other.privateKey), both)).toEqual(TERMS);
  });
});
