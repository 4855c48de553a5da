import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { moveAttachment, recoverAttachment } from '../../../core/attachment.js';
import type { Attachment } from '../../../core/domain.js';
import type { Generation, NodeId, VolumeId } from '../../../core/types.js';

const [one, two] = [randomUUID(), randomUUID()] as [NodeId, NodeId];
const NOON = Date.parse('2026-01-01T12:00:00.000Z');
const at = (ms: number): string => new Date(NOON + ms).toISOString();

const snapshot: Attachment = {
  ...{ volume: randomUUID() as VolumeId, generation: 5 as Generation, mode: 'rw', updatedAt: at(-1_000) },
};

function attach(current: Attachment, node: NodeId, ms: number, met?: number): Attachment {
  return moveAttachment(current, { expected: current.generation, node, met, timestamp: at(ms) });
}

function detach(current: Attachment, ms: number): Attachment {
  return moveAttachment(current, {
    expected: current.generation,
    node: undefined,
    met: undefined,
    timestamp: at(ms),
  });
}

describe('the generation of an attachment', () => {
  it('rises, also when the clock is set back', () => {
    const first = attach(snapshot, one, 0);
    const second = attach(detach(first, -3_600_000), two, -3_600_000);
    expect(first.generation).toBe(NOON);
    expect(second.generation).toBe(NOON + 2);
  });

  it('is given once, though etcd was set back and nobody tells of what it forgot', () => {
    const forgotten = [attach(snapshot, two, 0), attach(detach(attach(snapshot, one, 10), 20), two, 30)];
    const later = attach(snapshot, one, 40);
    for (const { generation } of forgotten) expect(later.generation).toBeGreaterThan(generation);
    // A copy that was away tells of an older one.
    expect(attach(snapshot, one, 40, 6).generation).toBe(later.generation);
  });

  it('is above what a copy has met by a clock that was ahead', () => {
    expect(attach(snapshot, one, 0, NOON + 60_000).generation).toBe(NOON + 60_001);
    expect(recoverAttachment(snapshot, NOON + 60_000, at(0))).toMatchObject({ generation: NOON + 60_001 });
  });

  it('stays if no copy knows of a later one', () => {
    expect(recoverAttachment(snapshot, 5, at(0))).toBe(snapshot);
    expect(recoverAttachment(snapshot, 6, at(0))).toMatchObject({ generation: NOON, updatedAt: at(0) });
  });
});

describe('an attempt to move an attachment that was made before', () => {
  const move = { expected: snapshot.generation, node: one, timestamp: at(0) };
  const moved = moveAttachment(snapshot, { ...move, met: undefined });

  it('finds its work, whatever the primary says by then', () => {
    for (const met of [undefined, 0, moved.generation]) {
      expect(moveAttachment(moved, { ...move, met, timestamp: at(9) })).toBe(moved);
    }
  });

  it('goes above an attachment that the primary has met and etcd forgot', () => {
    const again = moveAttachment(moved, { ...move, met: moved.generation + 7 });
    expect(again).toMatchObject({ node: one, generation: moved.generation + 8 });
  });

  it('ends no other', () => {
    const others = detach(moved, 1);
    expect(() => moveAttachment(others, { ...move, met: undefined })).toThrow(/changed meanwhile/);
    expect(() => moveAttachment(attach(others, two, 2), { ...move, met: undefined })).toThrow(/changed meanwhile/);
  });
});
