/**
 * Deliberate mistakes: each rule of design/replication.md switched off in the compiled code, and others that
 * a tired engineer could make. `find` occurs exactly once in the file, so that a mutation cannot silently
 * stop applying.
 */

interface Edit {
  /** Below the compiled tree. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutation extends Edit {
  readonly name: string;
  /** A second line of defence that has to be switched off with it. */
  readonly also?: Edit;
}

const replication = (file: string) => `core/replication/${file}.js`;

export const MUTATIONS: readonly Mutation[] = [
  {
    name: '[1] activation keeps members that did not confirm',
    file: 'core/membership.js',
    find: 'const stays = record.inSync.filter((member) => options.confirmed.has(member));',
    replace: 'const stays = [...record.inSync];',
  },
  {
    name: '[3] a removal makes a history entry',
    file: replication('primary'),
    find: 'this.swap(removeMembers(this.record, left))',
    replace:
      'this.swap(((next) => ({ ...next, history: [...next.history, { epoch: next.epoch, startsAfter: this.context.store.last.sequence }] }))(removeMembers(this.record, left)))',
  },
  {
    name: '[4] backfill does not overwrite dead orders',
    file: replication('sync-target'),
    find: 'isDead(present.order, history)',
    replace: 'false',
  },
  {
    name: '[4] backfill overwrites newer live writes',
    file: replication('sync-target'),
    find: '!isReplacedBy(present, part.entry, order, history)',
    replace: 'false',
  },
  {
    name: '[4] dead blocks are not listed',
    file: replication('sync-target'),
    find: 'const dead = await store.deadBlocks(',
    replace: 'const dead = ((..._) => [])(',
  },
  {
    name: '[6] the base of an interrupted sync is forgotten',
    file: replication('sync-target'),
    find: 'store.state.syncBase ?? store.last',
    replace: 'store.last',
  },
  {
    name: 'the base ignores the history',
    file: replication('sync-target'),
    find: 'sequence: commonEnd(from, message.history)',
    replace: 'sequence: from.sequence',
  },
  {
    name: '[7] a target counts as member only when its swap has succeeded',
    file: replication('sync-join'),
    find: 'primary.countAsMember(stream);',
    replace:
      'const adopt = primary.onRecord.bind(primary); primary.onRecord = (r) => { if (r.inSync.includes(sync.target)) primary.countAsMember(stream); adopt(r); };',
  },
  {
    name: '[8] the target is not flushed before it joins',
    file: replication('sync-target'),
    find: '// Flushed before it may become a member [8], and before it forgets the base and the unclean mark [9].\n        await store.flush();',
    replace: '',
  },
  {
    name: '[9] an unclean deployment says that it is clean',
    file: replication('replicated-deployment'),
    find: "unclean: store.state.unclean || this.#state === 'failed'",
    replace: 'unclean: false',
  },
  {
    name: '[10] an unclean copy is chosen while a member is silent',
    file: 'core/candidate.js',
    find: 'fit.length === membership.inSync.length ? fit : []',
    replace: 'fit',
  },
  {
    name: '[11] the loss verifier stays',
    file: 'core/membership.js',
    find: 'options.lossy ? record.lossVerifier + 1 : record.lossVerifier',
    replace: 'record.lossVerifier',
  },
  {
    name: 'lease ignored',
    file: replication('primary'),
    find: '!member.current || member.leaseUntil <= now',
    replace: '!member.current',
  },
  {
    name: '[13] a higher generation is not ordered',
    file: replication('sessions'),
    find: 'session.generation > this.#ordered',
    replace: 'false',
  },
  {
    name: '[13] a target is not told the generation',
    file: replication('sync-source'),
    find: 'if (store.generation > 0)',
    replace: 'if (false)',
  },
  {
    name: '[13] an older generation is served',
    file: replication('sessions'),
    find: 'message.generation < this.#generation',
    replace: 'false',
    also: {
      file: replication('replicated-deployment'),
      find: 'message.generation < this.store.generation',
      replace: 'false',
    },
  },
  {
    name: '[15] an unclean member is accepted',
    file: replication('peer-stream'),
    find: 'if (message.unclean) {',
    replace: 'if (false) {',
  },
  {
    name: '[16] a new primary does not wait for old leases',
    file: replication('opening'),
    find: '!sealed && now < this.#oldLeasesEnd',
    replace: 'false',
  },
  {
    name: 'acknowledged by the primary alone',
    file: replication('writes'),
    find: 'if (member.acked < replicated)',
    replace: 'if (false)',
  },
  {
    name: 'acknowledged before the removal is in etcd',
    file: replication('primary'),
    find: 'this.context.background(this.#remove(failed));',
    replace:
      'this.members = this.members.filter((member) => member.failure === undefined); this.context.background(this.#remove(failed));',
  },
  {
    name: 'an unknown swap is taken for a success',
    file: replication('primary'),
    find: "if (outcome === 'applied') {",
    replace: "if (outcome !== 'conflict') {",
  },
  {
    name: 'an older epoch is accepted',
    file: replication('member'),
    find: 'if (message.epoch < this.#floor) {\n            this.refuse',
    replace: 'if (false) {\n            this.refuse',
  },
  {
    name: 'a flush does not wait for the own disk',
    file: replication('writes'),
    find: 'let durable = this.#primary.context.store.durable;',
    replace: 'let durable = this.#primary.context.store.last.sequence;',
  },
  {
    name: 'a member flushes without flushing',
    file: replication('member'),
    find: 'const flushed = store.flush().then(() => {',
    replace: 'const flushed = Promise.resolve().then(() => {',
  },
  {
    name: 'the start of the new epoch is one too high',
    file: replication('opening'),
    find: 'startsAfter: end,\n            confirmed',
    replace: 'startsAfter: end + 1, confirmed',
  },
  {
    name: 'a sync leaves the last changed block out',
    file: replication('sync-source'),
    find: 'await this.#send(blocks, streamAfter);',
    replace: 'await this.#send(blocks.slice(0, -1), streamAfter);',
  },
  {
    name: 'a sync takes blocks for live that are not in the stream',
    file: replication('sync-source'),
    find: '<= liveAfter)',
    replace: '< liveAfter)',
  },
  {
    name: 'a gap in the stream is appended',
    file: replication('member'),
    find: 'message.firstSequence > expected || ',
    replace: '',
  },
  {
    name: 'confirmations of another incarnation count',
    file: replication('peer-stream'),
    find: 'if (this.incarnation !== incarnation) {',
    replace: 'if (this.incarnation === undefined) {',
  },
  {
    name: 'a mended block is any block with that number',
    file: replication('damage'),
    find: '!sameOrder(order, block.order) || !sameChecksum(part.entry, block)',
    replace: 'false',
    also: {
      file: replication('damage'),
      find: 'present === undefined || !sameOrder(present.order, order)',
      replace: 'false',
    },
  },
  {
    name: 'a trim of blocks with data is dropped',
    file: replication('writes'),
    find: 'written !== undefined && written < entry.block + entry.blocks',
    replace: 'false',
  },
  {
    name: 'a write of an ended session is ordered',
    file: replication('writes'),
    find: 'if (next.wanted()) {',
    replace: 'if (true) {',
  },
  {
    name: '[17] a member with a longer log stays',
    file: replication('peer-stream'),
    find: 'message.last.sequence > store.last.sequence ||',
    replace: 'false ||',
    also: {
      file: replication('opening'),
      find: 'member.current && member.acked === end && member.failure === undefined',
      replace: 'member.current && member.acked >= end && member.failure === undefined',
    },
  },
  {
    name: 'a flush does not wait for members',
    file: replication('writes'),
    find: 'if (member.durable < durable)',
    replace: 'if (false)',
    also: {
      file: replication('opening'),
      find: "#flushed = 'no';",
      replace: "#flushed = 'yes';",
    },
  },
];
