import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { VolumeMemory } from '../../../node-agent/volume-memory.js';
import { aVolume } from '../../setup/records.js';

let root: string;
let directory: string;
let warnings: string[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'memory-'));
  directory = join(root, 'volumes');
  warnings = [];
});

afterEach(() => rmSync(root, { recursive: true }));

function open(): Promise<VolumeMemory> {
  const logger = pino({ level: 'warn' }, { write: (line) => warnings.push(line) });
  return VolumeMemory.open({ directory, namespaceName: () => 'shop', logger });
}

it('keeps the newest that it was told over a restart, and forgets what it is told to', async () => {
  const memory = await open();
  const [kept, gone] = [aVolume({ labels: { a: 'b' } }), aVolume()];
  memory.remember(kept);
  memory.remember(gone);
  memory.remember({ ...kept, replicas: 3 });
  memory.forget(gone.id);
  memory.forget(aVolume().id);
  await memory.settled();
  expect(readdirSync(directory)).toEqual([`${kept.id}.json`]);
  const again = await open();
  expect(again.of(kept.id)).toEqual({ volume: { ...kept, replicas: 3 }, namespaceName: 'shop' });
  expect(again.of(gone.id)).toBeUndefined();
  expect(warnings).toEqual([]);
});

it('writes nothing that is there already, before a restart and behind it', async () => {
  const volume = aVolume();
  const memory = await open();
  memory.remember(volume);
  await memory.settled();
  const path = join(directory, `${volume.id}.json`);
  const { ino } = statSync(path);
  memory.remember({ ...volume });
  await memory.settled();
  const again = await open();
  again.remember({ ...volume });
  await again.settled();
  expect(statSync(path).ino).toBe(ino);
});

it('goes on without what cannot be read, or be written', async () => {
  const [good, swapped] = [aVolume(), aVolume()];
  const memory = await open();
  memory.remember(good);
  await memory.settled();
  const text = readFileSync(join(directory, `${good.id}.json`), 'utf8');
  writeFileSync(join(directory, `${swapped.id}.json`), text);
  writeFileSync(join(directory, `${aVolume().id}.json`), '{"version":1}');
  writeFileSync(join(directory, 'other'), '');
  const again = await open();
  expect([again.of(good.id)?.volume, again.of(swapped.id)]).toEqual([good, undefined]);
  expect(warnings).toHaveLength(2);
  rmSync(directory, { recursive: true });
  writeFileSync(directory, 'in the way');
  again.remember({ ...good, replicas: 4 });
  again.remember(aVolume());
  await again.settled();
  expect(warnings).toHaveLength(4);
});
