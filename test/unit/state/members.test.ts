/**
 * What agents of earlier versions read. Their schemas are strict as well: a record with a member that they do not know
 * is malformed to them, and with it every listing of its kind. `members.json` has the members of each kind as the first
 * version knows them that a cluster may be updated from; it changes only when that version is no longer supported.
 */

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { KINDS } from '../../../node-agent/state/keys.js';
import * as schemas from '../../../node-agent/state/schemas.js';
import { toldMembershipSchema, toldVolumeSchema } from '../../../node-agent/state/schemas.js';
import { aMembership, aVolume } from '../../setup/records.js';

const known: Readonly<Record<string, readonly string[]>> = JSON.parse(
  readFileSync(new URL('./fixtures/members.json', import.meta.url), 'utf8'),
);

const present = {
  volumes: schemas.volumeSchema,
  memberships: schemas.membershipSchema,
  attachments: schemas.attachmentSchema,
  nodes: schemas.nodeSchema,
  namespaces: schemas.namespaceSchema,
  users: schemas.userSchema,
  policies: schemas.policySchema,
  tombstones: schemas.tombstoneSchema,
  liveness: schemas.livenessSchema,
  cluster: schemas.clusterSchema,
};

interface Node {
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly oneOf?: readonly Node[];
  readonly anyOf?: readonly Node[];
}

/** Paths of all members, those of lists and alternatives without a sign that they are. */
function membersOf({ properties = {}, items, oneOf = [], anyOf = [] }: Node, path = ''): string[] {
  const members = Object.entries(properties).flatMap(([name, member]) => [
    `${path}${name}`,
    ...membersOf(member, `${path}${name}.`),
  ]);
  const within = [...(items === undefined ? [] : [items]), ...oneOf, ...anyOf];
  return [...new Set([...members, ...within.flatMap((node) => membersOf(node, path))])].sort();
}

const written = (schema: z.ZodType) =>
  membersOf(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Node);

it.each(Object.entries(present))('records of %s have no member that earlier versions do not know', (kind, schema) => {
  const members = written(schema);
  expect(members.length).toBeGreaterThan(2);
  expect(members.filter((member) => known[kind]?.includes(member) !== true)).toEqual([]);
});

it('what is new has a kind of its own, of which earlier versions know nothing', () => {
  expect(KINDS.filter((kind) => known[kind] === undefined)).toEqual(['disks', 'closed']);
});

it('what nodes tell each other of records is read without the members that are not known here', () => {
  const membership = aMembership(aVolume().id);
  const [deployment, node] = [membership.primary.deployment, membership.primary.node];
  const volume = { ...aVolume(), placements: [{ deployment, node }] };
  const later = { ...volume, shelf: 1, placements: [{ deployment, node, rack: 'x' }] };
  expect(toldVolumeSchema.parse(later)).toEqual(volume);
  const record = { ...membership, outOfSync: [{ deployment, reason: '', since: volume.createdAt }] };
  const extended = {
    ...record,
    shelf: 1,
    primary: { ...record.primary, rack: 'x' },
    outOfSync: record.outOfSync.map((left) => ({ ...left, rack: 'x' })),
    history: record.history.map((entry) => ({ ...entry, rack: 'x' })),
  };
  expect(toldMembershipSchema.parse(extended)).toEqual(record);
  expect(schemas.volumeSchema.safeParse(later).success).toBe(false);
  expect(schemas.membershipSchema.safeParse(extended).success).toBe(false);
});
