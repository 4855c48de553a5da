import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { run } from '../../../cli/run.js';
import { readBootId, systemClock, systemRandom } from '../../../node-agent/clock.js';
import { loadCodec } from '../../../node-agent/codec/index.js';
import { NodeStores, openFileDisk } from '../../../node-agent/store/index.js';
import { BLOCK_BYTES, DEPLOYMENT, epoch, newDeployment, sequence, VOLUME } from '../store/support.js';

const BLOCKS = 20;
const MISSING = '33333333-3333-4333-8333-333333333333';

let rootDir: string;

beforeEach(async () => {
  rootDir = mkdtempSync(join(tmpdir(), 'debug-'));
  const stores = await openStores();
  const codec = (await loadCodec()).openVolume({ volume: VOLUME, blockSize: BLOCK_BYTES, compress: false });
  const store = await stores.create(newDeployment);
  for (let i = 0; i < BLOCKS; i++) {
    const batch = codec.encode(Buffer.alloc(BLOCK_BYTES, `block ${i} `), i);
    store.append({ epoch: epoch(1), firstSequence: sequence(i + 1), batch });
  }
  await stores.close();
});

afterEach(() => {
  rmSync(rootDir, { recursive: true, force: true });
});

async function openStores(): Promise<NodeStores> {
  const codec = await loadCodec();
  return await NodeStores.open({
    disk: openFileDisk(rootDir),
    clock: systemClock,
    random: systemRandom,
    bootId: readBootId(),
    checksums: (volume) => codec.checksums(volume),
    reserveBytes: 0,
  });
}

async function cli(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const streams = {
    out: (text: string) => {
      said.out += text;
    },
    err: (text: string) => {
      said.err += text;
    },
  };
  return { code: await run(args, { env: { HOME: rootDir, ROOT_DIR: rootDir }, streams }), ...said };
}

/** Changes one byte of block 7's payload. */
function rot(): string {
  const directory = join(rootDir, 'data', 'dev1');
  const name = readdirSync(directory).find((file) => file.endsWith('.blob'))!;
  const bytes = readFileSync(join(directory, name));
  bytes.writeUInt8(0xff, bytes.indexOf('block 7 block 7'));
  writeFileSync(join(directory, name), bytes);
  return name;
}

it('debug store prints the layout, debug verify reads everything, and nothing is wrong', async () => {
  const store = await cli('debug', 'store');
  expect(store).toMatchObject({ code: 0, err: '' });
  expect(store.out).toContain(`data/db1/1: deployment ${DEPLOYMENT}\n  volume ${VOLUME}, 1024.0 MiB of 4096 bytes`);
  expect(store.out).toMatch(/data\/db1\/1\/super\.0: update \d+\n/);
  expect(store.out).toMatch(/data\/dev1\/vol\.1\.0\.blob +0\.1 MiB +9\d % live, 20 blocks, stream up to 20\n/);
  expect(store.out).toMatch(/1 deployments, nothing wrong\n$/);
  const verify = await cli('debug', 'verify', VOLUME);
  expect(verify).toMatchObject({ code: 0, err: '' });
  expect(verify.out).not.toContain('super.0');
});

it('what is wrong is printed, counted and the exit code', async () => {
  const segment = rot();
  expect(await cli('debug', 'store')).toMatchObject({ code: 0 });
  const verify = await cli('debug', 'verify');
  expect(verify).toMatchObject({ code: 1, err: expect.stringContaining('things are wrong') });
  expect(verify.out).toMatch(/WRONG: .*block 7 of order 1\/8: bad checksum/);
  const { code, out } = await cli('debug', 'verify', DEPLOYMENT, '-o', 'json');
  expect(code).toBe(1);
  const report = JSON.parse(out);
  expect(report).toMatchObject({
    rootDir,
    problems: report.deployments[0].damages.length,
    deployments: [{ superblock: { volume: VOLUME }, contents: { segments: [{ path: `data/dev1/${segment}` }] } }],
  });
});

it('refuses a directory in use, one that is none, and ids that are not there', async () => {
  expect(await cli('debug', 'verify', MISSING)).toMatchObject({ code: 8, err: expect.stringContaining(MISSING) });
  const elsewhere = await cli('debug', 'store', '--root-dir', join(rootDir, 'state'));
  expect(elsewhere).toMatchObject({ code: 8, err: expect.stringContaining('not a data directory') });
  const stores = await openStores();
  try {
    expect(await cli('debug', 'verify')).toMatchObject({ code: 14, err: expect.stringContaining('stop the agent') });
  } finally {
    await stores.close();
  }
});
